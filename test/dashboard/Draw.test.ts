import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import { h } from "../../src/dashboard/tree.js"
import type { Tree } from "../../src/dashboard/tree.js"
import { document, Element, Text } from "../support/dom.ts"

Object.assign(globalThis, { document, Element, Text })

// It is of the browser's project, whose types are not this one's.
const { build, place }: {
  readonly build: (tree: Tree) => Element | Text
  readonly place: (parent: Element, trees: ReadonlyArray<Tree>) => void
} = await import(String(new URL("../../src/dashboard/draw.js", import.meta.url)))

/** What is in a page, as a tree again. */
const read = (node: unknown): Tree => {
  if (node instanceof Text) return node.nodeValue
  if (!(node instanceof Element)) throw new Error("neither an element nor text")
  const attributes = node.getAttributeNames().map((name) => [name === "data-key" ? "key" : name, node.getAttribute(name) ?? ""])
  return h(node.localName, Object.fromEntries(attributes), ...node.childNodes.map(read))
}

/** A thing with a key, whose form changes with its text. */
const row = (key: number, text: string) => h("li", { key: String(key), class: `c${text.length % 3}` }, h("b", {}, text), ...(text.length % 2 === 0 ? [h("input")] : []))

const Rows = Arbitrary.array(Arbitrary.schema(Schema.Struct({ key: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 7 })), text: Schema.String })), { maxLength: 8 })
const once = (rows: ReadonlyArray<{ readonly key: number; readonly text: string }>) =>
  [...new Map(rows.map((one) => [one.key, one])).values()].map(({ key, text }) => row(key, text))

describe("Drawing", () => {
  it("makes text of text", () => {
    const evil = `<script>alert(1)</script>`
    const made = build(h("p", { title: evil }, evil, h("b", {}, evil)))
    assert(made instanceof Element)
    assert.deepStrictEqual(read(made), h("p", { title: evil }, evil, h("b", {}, evil)))
    assert.isTrue(made.childNodes[0] instanceof Text)
    assert.deepStrictEqual(made.children.map(({ localName }) => localName), ["b"])
  })

  it.effect.prop("shows what is wanted, and keeps what stays", { first: Rows, second: Rows }, ({ first, second }) =>
    Effect.sync(() => {
      const parent = document.createElement("ul")
      place(parent, once(first))
      assert.deepStrictEqual(parent.childNodes.map(read), once(first))
      const before = new Map(parent.children.map((one) => [one.getAttribute("data-key"), one]))
      place(parent, once(second))
      assert.deepStrictEqual(parent.childNodes.map(read), once(second))
      for (const one of parent.children) {
        const known = before.get(one.getAttribute("data-key"))
        if (known !== undefined) assert.strictEqual(one, known)
      }
    }), { arbitrary: { runs: 500 } })

  it("moves nothing for what comes before it or goes", () => {
    const parent = document.createElement("ul")
    place(parent, [row(1, "a"), row(2, "bb"), row(3, "c")])
    const moved: Array<unknown> = []
    const insert = parent.insertBefore.bind(parent)
    parent.insertBefore = (node, before) => {
      moved.push(node)
      insert(node, before)
    }
    const [, second] = parent.children
    const input = second?.children[1]
    place(parent, [row(4, "new"), row(2, "bbbb"), row(3, "c")])
    assert.deepStrictEqual(moved.map(read), [row(4, "new")])
    // Whoever types there goes on.
    assert.strictEqual(parent.children[1], second)
    assert.strictEqual(second?.children[1], input)
    assert.deepStrictEqual(parent.childNodes.map(read), [row(4, "new"), row(2, "bbbb"), row(3, "c")])
  })

  it("takes one kind of thing for another where they change places", () => {
    const parent = document.createElement("div")
    place(parent, [h("p", { class: "nothing" }, "Nothing.")])
    place(parent, [h("table", {}, h("tr", { key: "1" })), "text"])
    assert.deepStrictEqual(parent.childNodes.map(read), [h("table", {}, h("tr", { key: "1" })), "text"])
    place(parent, ["text", h("p", {}, "Nothing.")])
    assert.deepStrictEqual(parent.childNodes.map(read), ["text", h("p", {}, "Nothing.")])
    place(parent, [])
    assert.deepStrictEqual(parent.childNodes, [])
  })
})
