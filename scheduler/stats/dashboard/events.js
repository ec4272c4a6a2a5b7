// What happened last, as the stats process noted it and as this page noticed.

import { serverNowMs } from "./api.js";
import { byId, el, reconcile } from "./dom.js";
import { timeOfDay, words } from "./format.js";

const SHOWN_MAX = 50;
const NOTICED_MAX = 20;

export class Events {
  constructor() {
    this._told = [];
    this._noticed = [];
  }

  /** @param {any[]} events of the history */
  show(events) {
    this._told = events;
    this._render();
  }

  /** Add what only this page can know, such as a lost connection. */
  notice(kind, text) {
    const event = { t_ms: Math.round(serverNowMs()), kind, text };
    this._noticed = [...this._noticed, event].slice(-NOTICED_MAX);
    this._render();
  }

  _render() {
    const newest = [...this._told, ...this._noticed]
      .sort((a, b) => b.t_ms - a.t_ms)
      .slice(0, SHOWN_MAX);
    const seen = new Map();
    const items = newest.map((event) => {
      const key = `event ${event.t_ms} ${event.kind} ${event.text}`;
      seen.set(key, (seen.get(key) ?? 0) + 1);
      return { ...event, key: `${key} ${seen.get(key)}` };
    });
    reconcile(byId("events"), items.length ? items : [{ key: "empty" }], {
      key: (item) => item.key,
      create: (item) =>
        item.kind === undefined
          ? el("li", { class: "empty" }, "Nothing has happened yet.")
          : el(
              "li",
              {},
              el("time", { datetime: isoOf(item.t_ms), title: isoOf(item.t_ms) }, timeOfDay(item.t_ms)),
              el("span", { class: "event-kind" }, words(item.kind)),
              el("span", { class: "event-text" }, String(item.text)),
            ),
    });
  }
}

const isoOf = (ms) => new Date(ms).toISOString();
