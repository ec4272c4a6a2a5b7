// Keeps the newest snapshot coming: by the event stream, and by polling while that is silent.

import { addressOf, get, serverNowMs } from "./api.js";

const TICK_MS = 1_000;
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 15_000;
const REFRESH_MS_DEFAULT = 5_000;

/** Refreshes without a new snapshot after which what is shown is called stale. */
export const STALE_REFRESHES = 3;

export class Live {
  /**
   * @param {(snapshot: any) => void} onSnapshot called with each new one
   * @param {() => void} onDown called when an attempt to get one failed
   */
  constructor(onSnapshot, onDown) {
    this._onSnapshot = onSnapshot;
    this._onDown = onDown;
    /** @type {any} */
    this._last = null;
    this._arrivedMs = 0;
    this._stream = null;
    this._retryAtMs = 0;
    this._retryMs = RETRY_MS_MIN;
    this._polling = false;
    /** Whether the last attempt to hear from the scheduler failed. */
    this.isDown = false;
    /** Time between snapshots; to be set once it is known. */
    this.refreshMs = REFRESH_MS_DEFAULT;
  }

  start() {
    this._poll();
    this._connect();
    setInterval(() => this._tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this._close();
      else this._tick();
    });
  }

  /** Age of the last snapshot in ms, null before the first. */
  ageMs() {
    if (!this._last) return null;
    // The second guards against clocks that were set: it grows whatever they say.
    const byServer = serverNowMs() - this._last.snapshot.generated_at_ms;
    return Math.max(0, byServer, performance.now() - this._arrivedMs);
  }

  isStale() {
    const ageMs = this.ageMs();
    return ageMs !== null && ageMs > STALE_REFRESHES * this.refreshMs;
  }

  _connect() {
    // A browser has few connections for a server: hidden pages leave theirs to the others.
    if (document.hidden) return;
    const stream = new EventSource(addressOf("api/v1/events"));
    this._stream = stream;
    stream.addEventListener("open", () => {
      this._retryMs = RETRY_MS_MIN;
    });
    stream.addEventListener("snapshot", (event) => this._take(JSON.parse(event.data)));
    stream.addEventListener("error", () => {
      if (stream !== this._stream) return;
      this._disconnect();
      this._poll(); // tells at once whether more than the stream is gone
    });
  }

  // A browser gives up for good after an answer that is no stream, such as a 503: retry here.
  _disconnect() {
    this._close();
    this._retryAtMs = performance.now() + this._retryMs;
    this._retryMs = Math.min(RETRY_MS_MAX, 2 * this._retryMs);
  }

  _close() {
    this._stream?.close();
    this._stream = null;
  }

  _tick() {
    const silentMs = performance.now() - this._arrivedMs;
    // A connection can be dead without an error, as after a sleep of this machine.
    if (this._stream && silentMs > 2 * STALE_REFRESHES * this.refreshMs + RETRY_MS_MAX) {
      this._disconnect();
    }
    if (!this._stream && performance.now() >= this._retryAtMs) this._connect();
    if (silentMs > 1.5 * this.refreshMs) this._poll();
  }

  async _poll() {
    if (this._polling) return;
    this._polling = true;
    try {
      this._take(await get("api/v1/stats"));
    } catch {
      this.isDown = true;
      this._onDown();
    } finally {
      this._polling = false;
    }
  }

  _take(snapshot) {
    this.isDown = false;
    const { source, sequence } = snapshot.snapshot;
    const last = this._last?.snapshot;
    if (last && last.source === source && sequence <= last.sequence) return;
    this._last = snapshot;
    this._arrivedMs = performance.now();
    this._onSnapshot(snapshot);
  }
}
