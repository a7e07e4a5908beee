/** As much of a browser's document as the dashboard's drawing asks of it: elements with attributes and children, and text. */

class Node {
  parentNode: Element | null = null

  get nextSibling(): Node | null {
    const siblings = this.parentNode?.childNodes ?? []
    return siblings[siblings.indexOf(this) + 1] ?? null
  }

  remove(): void {
    if (this.parentNode !== null) this.parentNode.childNodes = this.parentNode.childNodes.filter((one) => one !== this)
    this.parentNode = null
  }
}

export class Text extends Node {
  nodeValue: string
  constructor(text: string) {
    super()
    this.nodeValue = text
  }
}

export class Element extends Node {
  readonly localName: string
  childNodes: ReadonlyArray<Node> = []
  private readonly attributes = new Map<string, string>()
  constructor(name: string) {
    super()
    this.localName = name
  }

  get children(): ReadonlyArray<Element> {
    return this.childNodes.filter((one) => one instanceof Element)
  }

  get firstChild(): Node | null {
    return this.childNodes[0] ?? null
  }

  getAttribute(name: string): string | null {
    return this.attributes.get(name) ?? null
  }

  getAttributeNames(): ReadonlyArray<string> {
    return [...this.attributes.keys()]
  }

  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value)
  }

  removeAttribute(name: string): void {
    this.attributes.delete(name)
  }

  insertBefore(node: Node, before: Node | null): void {
    node.remove()
    const at = before === null ? this.childNodes.length : this.childNodes.indexOf(before)
    if (at < 0) throw new Error("the place is not in this element")
    this.childNodes = this.childNodes.toSpliced(at, 0, node)
    node.parentNode = this
  }

  append(...nodes: ReadonlyArray<Node>): void {
    for (const node of nodes) this.insertBefore(node, null)
  }
}

/** What a script finds in a page. */
export const document = {
  createElement: (name: string) => new Element(name),
  createTextNode: (text: string) => new Text(text)
}
