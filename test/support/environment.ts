/** The environment of processes that tests start: nothing of a developer's own, and what others have compiled. */
export const bare: Readonly<Record<string, string>> = Object.fromEntries(
  ["PATH", "NODE_COMPILE_CACHE"].flatMap((name) => process.env[name] === undefined ? [] : [[name, process.env[name]]])
)
