/** How the time of some work grows with its size. Only compared with itself: other processes of a busy machine take part in any one time. */

/** Milliseconds of the quickest of several tries, which others have disturbed least. */
const quickest = (work: () => unknown): number =>
  Math.min(...Array.from({ length: 5 }, () => {
    const started = performance.now()
    work()
    return performance.now() - started
  }))

/** How many times longer some work takes at eight times its size: 8 where it is linear, 64 where it is quadratic. */
export const growth = (size: number, work: (size: number) => unknown): number => {
  // Below a twentieth of a millisecond it is the clock that is measured.
  const small = Math.max(0.05, quickest(() => work(size)))
  return quickest(() => work(size * 8)) / small
}

/** Between linear and quadratic, nearer to what is quadratic in the middle of other processes. */
export const mostOfLinear = 30
