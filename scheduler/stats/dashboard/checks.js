// What the scheduler checks of its own placement: load recounted, and a second strategy compared.

import { openFromChips, showChips } from "./chips.js";
import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { count, counted, duration, portion, span } from "./format.js";

/** The panel has the others. */
const ALARM_NODES_MAX = 8;

const TOTALS = [
  {
    field: "slots_freed_total",
    label: "Slots freed",
    note: "that no attempt held",
    nodes: ({ righted }) => righted.map(({ node_id, slots }) => [node_id, count(slots)]),
  },
  { field: "rows_rescored_total", label: "Rows rescored", note: "whose count or score was wrong" },
  { field: "attempts_dropped_total", label: "Attempts dropped", note: "that the dispatcher knew nothing of" },
  {
    field: "jobs_overdue_total",
    label: "Jobs overdue",
    note: "failed, for they had no outcome after all deadlines",
    tone: "bad",
  },
];

export class Checks {
  /** @param {(nodeId: string) => void} onOpen */
  constructor(onOpen) {
    openFromChips(byId("checks"), onOpen);
    openFromChips(byId("alarm"), onOpen);
  }

  /** @param {any} scheduler of the snapshot @param {Map<string, any>} nodes by id */
  show({ audit, counters }, nodes) {
    showAlarm(audit, nodes);
    showVerdict(audit);
    showDiffering(audit, nodes);
    showTotals(audit, nodes);
    showShadow(counters.dispatcher);
  }
}

/** Whether the counts of load are known to be wrong. */
export const isAlarming = ({ audit }) => audit.differing_nodes > 0;

/** Say it at the top. Without figures: each change of the text is read out. */
function showAlarm({ differing_nodes: number, differing }, nodes) {
  const [text, chips, more] = byId("alarm").children;
  byId("alarm").hidden = !number;
  setText(text, number ? `The load of ${counted(number, "node")} is counted wrong:` : "");
  const named = differing.slice(0, ALARM_NODES_MAX).map(({ node_id: id }) => id);
  showChips(chips, named, nodes);
  setText(more, andMore(number, named));
}

const andMore = (number, named) =>
  number > named.length ? `and ${count(number - named.length)} more` : "";

function showVerdict(audit) {
  const { differing_nodes: number, oldest_job_ms: oldestMs } = audit;
  const isGood = number === 0;
  setText(
    byId("audit-verdict"),
    isGood
      ? "All counts of load agree with what the gateways hold."
      : `${counted(number, "node")} with another count than the gateway holds.`,
  );
  setAttribute(byId("audit-verdict"), "class", `status ${isGood ? "ready" : "offline bad"}`);
  setText(
    byId("audit-oldest"),
    oldestMs ? `The oldest job without an outcome is ${duration(oldestMs)} old.` : "No job is open.",
  );
}

function showDiffering({ differing_nodes: number, differing }, nodes) {
  byId("audit-differing-box").hidden = !differing.length;
  reconcile(byId("audit-differing"), differing, {
    key: ({ node_id: id }) => `node ${id}`,
    create: () => el("tr", {}, el("th", { scope: "row" }), ...Array.from({ length: 3 }, () => el("td", { class: "figure" }))),
    update: (row, { node_id: id, in_flight: taken, held, seconds }) => {
      const [name, ...cells] = row.children;
      showChips(name, [id], nodes);
      [count(taken), count(held), span(seconds * 1000)].forEach((text, i) => setText(cells[i], text));
    },
  });
  setText(byId("audit-more"), andMore(number, differing));
}

function showTotals(audit, nodes) {
  const rows = TOTALS.filter(({ field }) => audit[field] > 0);
  byId("audit-found").hidden = !rows.length;
  reconcile(byId("audit-totals"), rows, {
    key: ({ field }) => field,
    create: ({ label, note, tone }) =>
      el(
        "li",
        {},
        el("span", {}, label, " ", el("span", { class: "quiet" }, note)),
        el("span", { class: `figure ${tone ?? "warn"}` }),
        el("span", { class: "chips" }),
      ),
    update: (item, { field, nodes: named }) => {
      setText(item.children[1], count(audit[field]));
      const figures = new Map(named?.(audit) ?? []);
      showChips(item.children[2], [...figures.keys()], nodes, (id) => figures.get(id));
    },
  });
}

function showShadow({ shadow_compared_total: compared, shadow_differed_total: differed }) {
  byId("shadow").hidden = !compared;
  if (!compared) return;
  const share = differed / compared;
  setText(
    byId("shadow-text"),
    `Would have chosen otherwise in ${portion(share)} of ${count(compared)} recorded decisions.`,
  );
  byId("shadow-bar").style.width = `${100 * share}%`;
}
