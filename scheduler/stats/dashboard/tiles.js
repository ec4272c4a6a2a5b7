// The figures that say at a glance how it goes.

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { brief, count, counted, milliseconds, NOTHING, percent, rate } from "./format.js";

const STATUS_ORDER = ["degraded", "draining", "registering", "offline"];

/**
 * @param {any} snapshot
 * @param {any[] | null} nodes
 * @param {any} history null before the first
 */
export function showTiles(snapshot, nodes, history) {
  reconcile(byId("tiles"), [...tiles(snapshot, nodes, history)], {
    key: (tile) => tile.name,
    create: (tile) =>
      el(
        "div",
        { class: "tile" },
        el("dt", {}, tile.name),
        el("dd", { class: "value" }, el("span"), el("small")),
        el("dd", { class: "note" }),
      ),
    update: (element, tile) => {
      const [value, rest] = element.querySelector(".value").children;
      setText(value, tile.value);
      setText(rest, tile.rest ?? "");
      setText(element.querySelector(".note"), tile.note);
      setAttribute(element, "data-tone", tile.tone ?? null);
    },
  });
}

function* tiles({ web_clients: clients, nodes: summary, scheduler }, nodes, history) {
  const last = (name) => history?.[name]?.at(-1) ?? null;
  const { jobs, queue, latency } = scheduler;
  const languages = Object.keys(clients.language_usage).length;
  yield {
    name: "Sessions",
    value: count(clients.active_users),
    note: counted(languages, "language"),
  };
  yield nodesTile(nodes, summary.connected_nodes);
  yield {
    name: "Jobs per second",
    value: rate(last("jobs_per_s")),
    note: `${brief(jobs.completed)} completed`,
  };
  const failing = last("failed_per_s");
  yield {
    name: "Failures per second",
    value: rate(failing),
    note: `${brief(jobs.failed)} failed in all`,
    tone: failing > 0 ? "warn" : undefined,
  };
  yield inFlightTile(jobs.in_flight, nodes);
  yield {
    name: "Queued",
    value: count(queue.depth),
    note: queue.depth ? `oldest waits ${milliseconds(queue.oldest_wait_ms)}` : "nobody waits",
    tone: queue.depth ? "warn" : undefined,
  };
  yield {
    name: "End to end p50 / p99",
    value: pair(
      last("end_to_end_p50_ms") ?? latency.end_to_end?.p50_ms,
      last("end_to_end_p99_ms") ?? latency.end_to_end?.p99_ms,
    ),
    note: `dispatch ${pair(
      last("dispatch_p50_ms") ?? latency.dispatch?.p50_ms,
      last("dispatch_p99_ms") ?? latency.dispatch?.p99_ms,
    )}`,
  };
}

function nodesTile(nodes, connected) {
  const name = "Nodes ready";
  if (!nodes) return { name, value: NOTHING, note: `${count(connected)} connected` };
  const ready = nodes.filter((node) => node.status === "ready").length;
  const others = STATUS_ORDER.flatMap((status) => {
    const found = nodes.filter((node) => node.status === status).length;
    return found ? [`${count(found)} ${status}`] : [];
  });
  return {
    name,
    value: count(ready),
    rest: ` / ${count(nodes.length)}`,
    note: others.join(" · ") || (nodes.length ? "all of them" : "none has registered"),
    tone: ready ? undefined : "bad",
  };
}

function inFlightTile(inFlight, nodes) {
  const name = "In flight / capacity";
  const ready = (nodes ?? []).filter((node) => node.status === "ready");
  const capacity = ready.reduce((sum, node) => sum + node.capacity, 0);
  return {
    name,
    value: count(inFlight),
    rest: nodes ? ` / ${count(capacity)}` : "",
    note: capacity ? `${percent((100 * inFlight) / capacity)} of the ready nodes` : "no capacity",
    tone: capacity && inFlight >= capacity ? "warn" : undefined,
  };
}

/** Two latencies with their unit once, where it is the same. */
function pair(first, second) {
  const [a, b] = [milliseconds(first), milliseconds(second)];
  const unit = b.split(" ").slice(1).join(" ");
  return unit && a.endsWith(` ${unit}`) ? `${a.split(" ")[0]} / ${b}` : `${a} / ${b}`;
}
