// The line at the top: what state the scheduler and this view of it are in.

import { byId, setText } from "./dom.js";
import { ago, count, span } from "./format.js";

const NAMES = {
  connecting: "Connecting",
  disconnected: "Disconnected",
  stale: "Stale",
  unready: "Not ready",
  ready: "Ready",
};

/**
 * @param {import("./live.js").Live} live
 * @param {string[]} missing what the scheduler lacks to be ready
 * @returns {keyof typeof NAMES}
 */
export function judge(live, missing) {
  if (live.isDown) return "disconnected";
  if (live.ageMs() === null) return "connecting";
  if (live.isStale()) return "stale";
  return missing.length ? "unready" : "ready";
}

/** Show the state and the age of what is shown. `alarming`: ready, yet something is wrong. */
export function showState(state, ageMs, missing, alarming) {
  document.body.dataset.state = state;
  setText(byId("state"), NAMES[state]);
  const first = state === "ready" ? (alarming ? "Alarm" : "") : NAMES[state];
  document.title = first ? `${first} · Lingua scheduler` : "Lingua scheduler";
  setText(byId("age"), ago(ageMs));
  const text = explain(state, missing);
  const notice = byId("notice");
  notice.hidden = !text;
  setText(notice, text);
}

function explain(state, missing) {
  switch (state) {
    case "disconnected":
      return "The scheduler can't be reached. What is shown is the last that was heard of it; this page goes on trying.";
    case "stale":
      return "The figures are no longer renewed: the stats process is stuck or overloaded. What is shown is the past.";
    case "unready":
      return `Not ready: ${missing.join(" · ")}`;
    default:
      return "";
  }
}

/** Show what the scheduler says of itself. */
export function showAbout({ uptime_s, version, generation }) {
  setText(byId("uptime"), span(uptime_s * 1000));
  setText(byId("version"), String(version));
  setText(byId("generation"), count(generation));
}
