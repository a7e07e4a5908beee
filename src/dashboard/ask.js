/** The server refuses, or does not answer. */
export class Refused extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 where nothing was answered
   */
  constructor(message, status) {
    super(message)
    this.status = status
  }
}

/**
 * Asks the API.
 *
 * @param {string} path
 * @param {RequestInit} [init]
 * @returns {Promise<any>} what the contract of the path says
 */
export const ask = async (path, init = {}) => {
  const silent = () => new Refused("The server does not answer: see that it runs.", 0)
  const response = await fetch(path, { cache: "no-store", ...init }).catch(() => {
    throw silent()
  })
  const body = await response.json().catch(() => null)
  if (response.ok) return body
  throw new Refused(body?.message ?? `The server answered ${response.status}: try again.`, response.status)
}
