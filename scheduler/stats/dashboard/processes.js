// The scheduler's own processes.

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { count, milliseconds } from "./format.js";

const HEARTBEAT_LATE_MS = 2_000;

/** @param {any[]} processes */
export function showProcesses(processes) {
  reconcile(byId("processes"), processes, {
    key: (process) => `${process.role} ${process.index}`,
    create: (process) => {
      const name = process.role === "gateway" ? `gateway ${process.index}` : process.role;
      return el(
        "tr",
        {},
        el("th", { scope: "row" }, name),
        el("td", {}, el("span", { class: "status" })),
        ...["figure optional", "figure", "figure", "figure optional", "figure"].map((kind) =>
          el("td", { class: kind }),
        ),
      );
    },
    update: fillRow,
  });
}

function fillRow(row, process) {
  const [, state, pid, heartbeat, lag, slow, restarts] = row.children;
  const [text, tone] = judge(process);
  setText(state.firstElementChild, text);
  state.firstElementChild.className = `status ${tone}`;
  setText(pid, process.pid ? String(process.pid) : "–");
  setText(heartbeat, milliseconds(process.heartbeat_age_ms));
  setAttribute(
    heartbeat,
    "class",
    `figure ${process.heartbeat_age_ms > HEARTBEAT_LATE_MS ? "bad" : ""}`,
  );
  setText(lag, milliseconds(process.loop_lag_max_ms));
  setText(slow, count(process.slow_paths_total));
  setText(restarts, count(process.restarts));
  setAttribute(restarts, "class", `figure ${process.restarts ? "warn" : ""}`);
}

function judge({ pid, fresh, ready, heartbeat_age_ms: age }) {
  if (!pid) return ["not running", "offline"];
  if (age === null) return ["starting", "registering"];
  if (!fresh) return ["no heartbeat", "offline"];
  return ready ? ["serving", "ready"] : ["not serving", "degraded"];
}
