/**
 * Puts into a page what is to be seen, with as few changes as it takes, so that who reads or types there is not disturbed.
 *
 * @import { Tree } from "./tree.js"
 */

/**
 * @param {Element} element
 * @param {Readonly<Record<string, string>>} attributes
 */
const dress = (element, { key, ...attributes }) => {
  const wanted = key === undefined ? attributes : { ...attributes, "data-key": key }
  for (const name of element.getAttributeNames()) if (!(name in wanted)) element.removeAttribute(name)
  for (const [name, value] of Object.entries(wanted)) if (element.getAttribute(name) !== value) element.setAttribute(name, value)
}

/**
 * Something new to be seen. Text is a text node, whatever is in it.
 *
 * @param {Tree} tree
 * @returns {Element | Text}
 */
export const build = (tree) => {
  if (typeof tree === "string") return document.createTextNode(tree)
  const element = document.createElement(tree.tag)
  dress(element, tree.attributes)
  element.append(...tree.children.map(build))
  return element
}

/**
 * @param {Node | null} node
 * @returns {string | null}
 */
const keyOf = (node) => node instanceof Element ? node.getAttribute("data-key") : null

/**
 * @param {Node} node
 * @param {Tree} tree
 * @returns {boolean}
 */
const fits = (node, tree) =>
  typeof tree === "string"
    ? node instanceof Text
    : node instanceof Element && node.localName === tree.tag && keyOf(node) === (tree.attributes["key"] ?? null)

/**
 * Makes what is in an element what is to be seen there.
 *
 * @param {Element} parent
 * @param {ReadonlyArray<Tree>} trees
 */
export const place = (parent, trees) => {
  const wanted = new Set(trees.map((tree) => typeof tree === "string" ? null : tree.attributes["key"] ?? null))
  const keyed = new Map()
  // The list itself changes with what is removed.
  const present = [...parent.children]
  for (const node of present) {
    const key = keyOf(node)
    if (key !== null && wanted.has(key)) keyed.set(key, node)
    else if (key !== null) node.remove()
  }
  let at = parent.firstChild
  for (const tree of trees) {
    const known = typeof tree === "string" ? undefined : keyed.get(tree.attributes["key"])
    /** @type {ChildNode | null} */
    const node = at !== null && fits(at, tree) ? at : known !== undefined && fits(known, tree) ? known : null
    if (node === null) {
      parent.insertBefore(build(tree), at)
      continue
    }
    if (node === at) at = node.nextSibling
    else parent.insertBefore(node, at)
    if (typeof tree === "string") {
      if (node.nodeValue !== tree) node.nodeValue = tree
    } else if (node instanceof Element) {
      dress(node, tree.attributes)
      place(node, tree.children)
    }
  }
  while (at !== null) {
    const next = at.nextSibling
    at.remove()
    at = next
  }
}
