// HTTP of the operations port. Addresses are relative to this file, so that the page also works
// behind a proxy that serves it under a prefix.

const ROOT = new URL("../", import.meta.url);
const TIMEOUT_MS = 15_000;

let clockOffsetMs = 0;

/** An answer that is no success: `problem` is its RFC 9457 document, where it had one. */
export class HttpProblem extends Error {
  /** @param {number} status @param {Record<string, unknown>} problem */
  constructor(status, problem) {
    super(String(problem.detail ?? problem.title ?? `HTTP ${status}`));
    this.status = status;
    this.problem = problem;
  }
}

/** The server's clock in ms since the epoch, at most a second behind: this one may be wrong. */
export const serverNowMs = () => performance.timeOrigin + performance.now() + clockOffsetMs;

export const addressOf = (path) => new URL(path, ROOT).href;

/** Get a JSON document. Throws HttpProblem, TypeError without connection, or a TimeoutError. */
export const get = (path) => request(path, { method: "GET" });

/** Get what the scheduler lacks to be ready: nothing when it is. */
export async function getMissing() {
  try {
    await get("ready");
  } catch (error) {
    if (error instanceof HttpProblem && Array.isArray(error.problem.missing)) {
      return error.problem.missing.map(String);
    }
    throw error;
  }
  return [];
}

/**
 * Ask for a change of a node. Throws as `get` does.
 * @param {string} nodeId @param {"drain" | "resume"} command
 * @param {string} reason @param {string} token the admin token
 */
export function command(nodeId, command, reason, token) {
  return request(`api/v1/nodes/${encodeURIComponent(nodeId)}/${command}`, {
    method: "POST",
    headers: { Authorization: `Bearer ${bytesOf(token)}`, "Content-Type": "application/json" },
    body: JSON.stringify(reason ? { reason } : {}),
  });
}

/** UTF-8 as the characters that stand for its bytes: a header takes no others. */
const bytesOf = (text) => String.fromCharCode(...new TextEncoder().encode(text));

async function request(path, options) {
  const response = await fetch(addressOf(path), {
    ...options,
    cache: "no-cache",
    credentials: "same-origin",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const date = Date.parse(response.headers.get("Date") ?? "");
  if (date) clockOffsetMs = date - performance.timeOrigin - performance.now();
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new HttpProblem(response.status, problem);
}
