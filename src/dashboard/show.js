/**
 * What is shown for what the API answers.
 *
 * @import * as Api from "../Api.ts"
 * @import { Tree } from "./tree.js"
 */
import { counted, dollars, h, nothing, percent, plain, table, time, tokens } from "./tree.js"

/**
 * A link to a run on this page.
 *
 * @param {string} run
 * @returns {Tree}
 */
const linkTo = (run) => h("a", { href: `#run/${encodeURIComponent(run)}` }, run.slice(0, 8), h("span", { class: "rest" }, run.slice(8)))

/**
 * How a run stands, in a word that a color only underlines.
 *
 * @param {string} status
 * @param {string | null} more
 * @returns {Tree}
 */
export const standing = (status, more) => h("span", { class: `status ${status}` }, more === null ? status : `${status}: ${plain(more)}`)

/**
 * What runs cost; a plus where some of it is not known.
 *
 * @param {{ readonly cost: string, readonly priced: boolean }} row
 * @returns {string}
 */
export const costOf = ({ cost, priced }) => `${dollars(cost)}${priced ? "" : " + unpriced"}`

/**
 * @param {{ readonly runs: ReadonlyArray<typeof Api.RunRow.Encoded>, readonly next: string | null }} answer
 * @returns {ReadonlyArray<Tree>}
 */
export const runs = ({ next, runs }) => {
  if (runs.length === 0) return nothing("No run yet: start one with the curl line that conductor serve prints.")
  const rows = runs.map((row) => ({
    key: row.run,
    cells: [
      linkTo(row.run), standing(row.status, row.error ?? row.parked), plain(row.agent), plain(row.model), String(row.turns), costOf(row), time(row.createdAt)
    ]
  }))
  const more = next === null ? [] : [h("p", {}, `These are the latest ${runs.length}: conductor runs --limit N lists more.`)]
  return [table(["Run", "Status", "Agent", "Model", "Turns", "Cost", "Started (UTC)"], rows), ...more]
}

/**
 * Parameters as they are, a field a line.
 *
 * @param {unknown} parameters
 * @returns {string}
 */
const parametersOf = (parameters) => parameters === null ? "The parameters were erased." : plain(JSON.stringify(parameters, null, 2))

/**
 * @param {{ readonly approvals: ReadonlyArray<typeof Api.ApprovalRequest.Encoded> }} answer
 * @returns {ReadonlyArray<Tree>}
 */
export const approvals = ({ approvals }) => {
  if (approvals.length === 0) return nothing("Nothing waits for a decision.")
  return approvals.map(({ agent, createdAt, digest, expiresAt, id, parameters, run, tool }) =>
    h("article", { key: id, class: "approval", "data-approval": id, "data-digest": digest },
      h("h3", {}, plain(tool), h("span", { class: "aside" }, ` for ${plain(agent)}, run `, linkTo(run))),
      h("pre", { tabindex: "0", "aria-label": "Parameters" }, parametersOf(parameters)),
      h("p", {}, "Asked ", time(createdAt), ", counts as denied from ", time(expiresAt), " (UTC)"),
      h("p", { class: "decision" },
        h("label", {}, "Comment ", h("input", { type: "text", maxlength: "1000", autocomplete: "off" })),
        h("button", { type: "button", "data-decision": "approved" }, "Approve", h("span", { class: "unseen" }, ` ${plain(tool)}`)),
        h("button", { type: "button", "data-decision": "denied" }, "Deny", h("span", { class: "unseen" }, ` ${plain(tool)}`)))))
}

/**
 * @param {string} what
 * @returns {(answer: { readonly lines: ReadonlyArray<typeof Api.UsageLine.Encoded>, readonly cost: string }) => ReadonlyArray<Tree>}
 */
export const spending = (what) => ({ cost, lines }) => {
  if (lines.length === 0) return nothing("Nothing was spent in these 30 days: what runs cost is shown here.")
  const ordered = what === "Day" ? lines.toSorted((a, b) => (b.key ?? "").localeCompare(a.key ?? "")) : lines.toSorted((a, b) => Number(b.cost) - Number(a.cost))
  const rows = ordered.map((line) => ({
    key: line.key ?? "",
    cells: [
      plain(line.key ?? "none"), String(line.calls), String(line.failed),
      line.usage === null ? "" : tokens(line.usage),
      costOf({ cost: line.cost, priced: (line.unpriced ?? 0) === 0 })
    ]
  }))
  return [table([what, "Attempts", "Failed", "Tokens", "Cost"], rows), h("p", {}, `Together ${dollars(cost)}`)]
}

const periods = { none: "for good", day: "a day", month: "a month" }

/**
 * @param {{ readonly budgets: ReadonlyArray<typeof Api.BudgetRow.Encoded> }} answer
 * @returns {ReadonlyArray<Tree>}
 */
export const budgets = ({ budgets }) => {
  if (budgets.length === 0) return nothing("No budget is set: conductor budgets set org 25 --period month sets one.")
  return [table(["Scope", "Limit", "Used", "Spent", "Set aside"], budgets.map((row) => ({
    key: row.scope,
    cells: [
      plain(row.scope), `${dollars(row.limit)} ${periods[row.period]}`,
      h("span", { class: row.share >= 1 ? "bar full" : "bar" },
        h("progress", { max: "1", value: String(Math.min(1, row.share)), "aria-label": `${plain(row.scope)} used` }), ` ${percent(row.share)}`),
      Number(row.excess) === 0 ? dollars(row.spent) : `${dollars(row.spent)}, and ${dollars(row.excess)} beyond the price list`,
      dollars(row.reserved)
    ]
  })))]
}

/**
 * @param {{ readonly tools: ReadonlyArray<typeof Api.ToolUsage.Encoded> }} answer
 * @returns {ReadonlyArray<Tree>}
 */
export const tools = ({ tools }) => {
  const called = tools.filter(({ tool }) => tool !== null)
  if (called.length === 0) return nothing("No tool was called in these 30 days: GET /v1/tools lists those that agents have.")
  return [table(["Tool", "Calls", "Failed", "Error rate", "Average time"], called.map(({ calls, failed, timeMs, tool }) => ({
    key: tool ?? "",
    cells: [
      plain(tool ?? ""), String(calls), String(failed), calls === 0 ? "" : percent(failed / calls),
      calls === 0 ? "" : `${Math.round(timeMs / calls)} ms`
    ]
  })))]
}

/**
 * @param {typeof Api.Errors.Encoded} answer
 * @returns {ReadonlyArray<Tree>}
 */
export const errors = ({ latest, runs }) => {
  const rate = runs.total === 0 ? [] : [h("p", {}, `${counted(runs.failed, "run")} of ${runs.total} failed in these 30 days (${percent(runs.rate)}).`)]
  if (latest.length === 0) return [...rate, ...nothing("Nothing has failed.")]
  return [...rate, table(["When (UTC)", "What", "Run", "Error"], latest.map(({ action, at, error, run, what }, index) => ({
    key: `${at} ${index}`,
    cells: [
      time(at), `${action.replace("_", " ")} ${plain(what)}`, run === null ? "" : linkTo(run),
      h("span", { class: "long" }, plain(error ?? "no more is known"))
    ]
  })))]
}

/**
 * @param {{ readonly rows: number, readonly head: { readonly n: number, readonly hash: string }, readonly broken: null | { readonly message: string } }} answer
 * @returns {ReadonlyArray<Tree>}
 */
export const audit = ({ broken, head, rows }) =>
  broken === null
    ? [h("p", {}, h("span", { class: "status completed" }, "verified"), ` ${counted(rows, "row")}, none of them changed or missing. The end, to keep elsewhere: `, h("code", {}, `${head.n}:${head.hash}`))]
    : [h("p", {}, h("span", { class: "status failed" }, "broken"), ` ${plain(broken.message)} ${counted(rows, "row")} before it ${rows === 1 ? "is" : "are"} sound.`)]
