/** Words of English that say nothing by themselves. */
const empty = new Set(
  ("a about am an and any are as at be been being but by can did do does for from had has have he her him his how i if in into is it " +
    "its just me my no nor not of off on or our out over own s she should so some such t than that the their them then there these they " +
    "this those to too under until up very was we were what when where which while who whom why will with you your").split(" ")
)

/** A word without the endings that English gives it, as far as a few rules go. */
const stemOf = (word: string): string => {
  if (word.length <= 3) return word
  const stem = word.replace(/ies$/, "y").replace(/(?<=[a-z]{3})(?:ing|ed|es|s)$/, "")
  return stem.replace(/(?<=[a-z]{3})e$/, "")
}

/** The words that a text is found by. Much like the search of Postgres for English text, and simpler. */
export const wordsOf = (text: string): ReadonlySet<string> =>
  new Set((text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []).filter((word) => !empty.has(word)).map(stemOf))

/** Which part of the words of a question is in a text, up to 1; all of them where it contains the question letter by letter. */
export const scoreOf = (question: string, text: string): number => {
  if (text.toLowerCase().includes(question.toLowerCase())) return 1
  const asked = [...wordsOf(question)]
  if (asked.length === 0) return 0
  const words = wordsOf(text)
  return asked.filter((word) => words.has(word)).length / asked.length
}
