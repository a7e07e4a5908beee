/**
 * The dashboard: asks the API as the browser that is signed in, and shows what it answers.
 *
 * @import { Tree } from "./tree.js"
 */
import { ask, Refused } from "./ask.js"
import { build, place } from "./draw.js"
import * as show from "./show.js"
import * as timeline from "./timeline.js"
import { h, plain } from "./tree.js"

/** Milliseconds between two looks at what changes with every run. */
const often = 3_000

/** Milliseconds between two looks at what adds up slowly. */
const seldom = 30_000

/** Milliseconds between two looks, at most, at a server that does not answer. */
const patience = 60_000

/** Milliseconds for which a sentence is to be read at least. */
const readable = 8_000

/** Events of a run that are to be seen at a time. */
const most = 1_000

const month = 30 * 86_400_000

/**
 * A part of the page.
 *
 * @param {string} id
 * @returns {HTMLElement}
 */
const part = (id) => {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no ${id}`)
  return element
}

let said = 0

/** @param {string} sentence */
const say = (sentence) => {
  said = Date.now()
  place(part("status"), [sentence])
}

/** @returns {string | undefined} the run that the address names */
const chosen = () => {
  const [, run] = /^#run\/([0-9a-f-]{36})$/i.exec(location.hash) ?? []
  return run
}

/**
 * Shows an answer in its place; what it fails with is told there.
 *
 * @param {string} id
 * @param {string} path
 * @param {(answer: any) => ReadonlyArray<Tree>} view
 */
const look = async (id, path, view) => {
  const run = chosen()
  try {
    const answer = await ask(path)
    // Who has gone on to another run meanwhile is not shown this one.
    if (chosen() === run) place(part(id), view(answer))
  } catch (error) {
    if (error instanceof Refused && (error.status === 401 || error.status === 0)) throw error
    place(part(id), [h("p", { class: "wrong" }, error instanceof Error ? error.message : String(error))])
  }
}

/** @type {{ source?: EventSource, run?: string, seq: number, dropped: number, isOver: boolean }} */
let watched = { seq: 0, dropped: 0, isOver: false }

/**
 * Text of the answer under way, or that there is none.
 *
 * @param {string} [text]
 */
const live = (text) => {
  const element = part("live")
  if (text === undefined) element.replaceChildren()
  else element.append(plain(text))
  for (const one of [element, part("live-title")]) one.hidden = text === undefined
}

/** Stops following the run. */
const unwatch = () => {
  watched.source?.close()
  delete watched.source
}

/** Follows the run that the address names, from where it was left. */
const watch = () => {
  const { run } = watched
  if (run === undefined || watched.source !== undefined || watched.isOver || document.hidden) return
  const source = new EventSource(`/v1/runs/${run}/events?after=${watched.seq}`)
  watched.source = source
  // Who comes back is told the answer under way from its beginning.
  source.addEventListener("open", () => live())
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED && watched.source === source) unwatch()
  })
  for (const kind of timeline.kinds) {
    source.addEventListener(kind, ({ data }) => {
      const logged = JSON.parse(data)
      if (logged.seq <= watched.seq) return
      watched.seq = logged.seq
      const list = part("events")
      list.append(build(timeline.entry(logged)))
      while (list.childElementCount > most) {
        list.firstElementChild?.remove()
        watched.dropped++
      }
      place(part("tally"), [timeline.tally(list.childElementCount, watched.dropped)])
      if (kind === "TurnCompleted" || kind === "AttemptFailed" || kind === "ContextCompacted") live()
      if (kind === "ToolCompleted") say("")
      if (!timeline.isEnd(kind)) return
      live()
      watched.isOver = true
      unwatch()
    })
  }
  source.addEventListener("Delta", ({ data }) => {
    const delta = JSON.parse(data)
    if (delta.kind === "text") live(delta.text)
  })
  source.addEventListener("Reset", () => live())
  source.addEventListener("Progress", ({ data }) => say(`${JSON.parse(data).tool}: ${JSON.parse(data).message}`))
}

/** Shows the run that the address names, or all. */
const turn = () => {
  const run = chosen()
  unwatch()
  part("all").hidden = run !== undefined
  part("one").hidden = run === undefined
  document.title = run === undefined ? "Conductor" : `Run ${run.slice(0, 8)} – Conductor`
  if (watched.run !== run) {
    watched = { ...(run === undefined ? {} : { run }), seq: 0, dropped: 0, isOver: false }
    for (const id of ["run", "events", "tally"]) part(id).replaceChildren()
    live()
    // Who asks for something else is not to wait for it.
    last = -Infinity
  }
  if (run !== undefined) {
    place(part("run-title"), [`Run ${run}`])
    part("run-title").focus()
  }
  watch()
  soon()
}

const usage = (/** @type {string} */ by) => `/v1/usage?by=${by}&since=${Date.now() - month}`

const verify = () => look("audit", "/v1/audit/verify", show.audit)

let slow = -Infinity
let last = -Infinity
let failures = 0
let isLooking = false
let isOver = false

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer

/** Looks at everything that is due, unless nobody looks at the page. */
const refresh = async () => {
  if (document.hidden || isOver || isLooking) return
  isLooking = true
  last = Date.now()
  const run = chosen()
  try {
    const looks = run === undefined
      ? [look("runs", "/v1/runs?limit=25", show.runs), look("approvals", "/v1/approvals", show.approvals)]
      : [look("run", `/v1/runs/${run}`, (view) => {
        // A run that was over may go on.
        if (view.endedAt === null) watched.isOver = false
        return timeline.head(view)
      })]
    if (run === undefined && last - slow >= seldom) {
      if (slow === -Infinity) looks.push(verify())
      looks.push(
        look("models", usage("model"), show.spending("Model")),
        look("days", usage("day"), show.spending("Day")),
        look("budgets", "/v1/budgets", show.budgets),
        look("tools", `/v1/tools/usage?since=${last - month}`, show.tools),
        look("errors", `/v1/errors?since=${last - month}&limit=20`, show.errors)
      )
      slow = last
    }
    await Promise.all(looks)
    watch()
    if (failures > 0 || said === 0 || last - said > readable) say("")
    failures = 0
  } catch (error) {
    failures++
    say(error instanceof Error ? error.message : String(error))
    if (error instanceof Refused && error.status === 401) {
      isOver = true
      unwatch()
    }
  }
  isLooking = false
  soon()
}

/** Looks again when it is time: never sooner than some seconds after the last look, and later where the server does not answer. */
const soon = () => {
  clearTimeout(timer)
  if (document.hidden || isOver) return
  timer = setTimeout(refresh, Math.max(0, last + Math.min(patience, often * 2 ** failures) - Date.now()))
}

/**
 * Decides about a request as it is shown.
 *
 * @param {HTMLElement} article
 * @param {string} decision
 */
const decide = async (article, decision) => {
  const { approval = "", digest = "" } = article.dataset
  const comment = article.querySelector("input")?.value.trim() ?? ""
  const buttons = [...article.querySelectorAll("button")]
  for (const button of buttons) button.disabled = true
  try {
    await ask(`/v1/approvals/${encodeURIComponent(approval)}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ decision, digest, ...(comment === "" ? {} : { comment }) })
    })
    say(`${decision === "approved" ? "Approved" : "Denied"}: the run goes on.`)
    article.remove()
    part("approvals-title").focus()
  } catch (error) {
    say(error instanceof Error ? error.message : String(error))
    for (const button of buttons) button.disabled = false
  }
  soon()
}

const leave = async () => {
  try {
    await fetch("/dashboard/logout", { method: "POST" })
    isOver = true
    unwatch()
    location.replace("/dashboard")
  } catch {
    say("The server does not answer, so that this browser is still signed in: try again.")
  }
}

document.addEventListener("click", ({ target }) => {
  if (!(target instanceof Element)) return
  const decision = target.closest("[data-decision]")?.getAttribute("data-decision")
  const article = target.closest("[data-approval]")
  if (decision && article instanceof HTMLElement) void decide(article, decision)
})
part("leave").addEventListener("click", () => void leave())
part("verify").addEventListener("click", () => void verify().catch((error) => say(error.message)))
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer)
    unwatch()
  } else {
    watch()
    soon()
  }
})
addEventListener("hashchange", turn)
turn()
