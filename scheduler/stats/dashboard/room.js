// How many more jobs fit, by what they require, and what the next one would wait for.

import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { count, counted, duration, words } from "./format.js";

/** @param {any} capacity of /api/v1/capacity */
export function showRoom({ queued, classes }) {
  // Those without room first; the others keep their places.
  const rows = [...classes.filter(isFull), ...classes.filter((one) => !isFull(one))];
  reconcile(byId("room"), rows, {
    key: ({ services }) => `class ${JSON.stringify(services)}`,
    create: (found) => makeClass(found, found === rows[0]),
    update: fillClass,
  });
  setText(byId("room-note"), queued ? `${counted(queued, "job")} waiting` : "no job waits");
  setAttribute(byId("room-note"), "class", `quiet ${queued ? "warn" : ""}`);
}

const isFull = ({ fits_now: free }) => free === 0;

function makeClass({ services }, isOpen) {
  const tags = services.length ? services : ["no service"];
  return el(
    "li",
    { class: "room" },
    el("p", { class: "room-services" }, ...tags.map((service) => el("span", { class: "tag" }, service))),
    el("p", { class: "room-fits" }, el("strong"), " ", el("span", { class: "quiet" })),
    el("span", { class: "bar parts", "aria-hidden": "true" }, el("span"), el("span")),
    el("p", { class: "room-next" }),
    el("p", { class: "quiet room-wait" }),
    el("details", { class: "room-blocked", open: isOpen }, el("summary"), el("ul")),
  );
}

function fillClass(item, found) {
  const [, fits, bar, next, wait, details] = item.children;
  const { fits_now: free, eligible_nodes: eligible, queued } = found;
  // Opened once, so that whoever closes it has their way.
  if (isFull(found) && !item.dataset.tone) details.open = true;
  setAttribute(item, "data-tone", free ? null : "bad");
  setText(fits.children[0], count(free));
  setText(fits.children[1], free === 1 ? "more fits" : "more fit");
  const blocked = Object.entries(found.blocked).sort(
    ([, a], [, b]) => b.slots - a.slots || b.nodes - a.nodes,
  );
  const kept = blocked.reduce((sum, [, { slots: those }]) => sum + those, 0);
  showParts(bar, free, kept);
  setText(next, free ? `on ${counted(eligible, "node")}, then ${lower(found.blocks_next)}` : whyNot(found));
  setText(
    wait,
    `${queued ? counted(queued, "job") : "none"} waiting · if refused, retry after ${duration(found.retry_after_ms)}`,
  );
  setAttribute(wait, "class", `room-wait ${queued ? "warn" : "quiet"}`);
  showBlocked(details, blocked, kept);
}

function whyNot({ blocks_next: reason, blocked }) {
  const counts = blocked[reason];
  return `The next one waits: ${lower(reason)}${counts ? `, ${detail(counts)}` : ""}`;
}

const lower = (reason) => words(reason).replace(/^[A-Z](?![A-Z])/, (letter) => letter.toLowerCase());

const detail = ({ nodes, slots }) =>
  slots ? `${counted(nodes, "node")}, ${counted(slots, "slot")}` : counted(nodes, "node");

function showParts(bar, free, kept) {
  const all = Math.max(1, free + kept);
  bar.children[0].style.width = `${(100 * free) / all}%`;
  bar.children[1].style.width = `${(100 * kept) / all}%`;
}

function showBlocked(details, blocked, kept) {
  const [summary, list] = details.children;
  details.hidden = !blocked.length;
  const nodes = blocked.reduce((sum, [, counts]) => sum + counts.nodes, 0);
  setText(
    summary,
    `${counted(nodes, "node")} can't take one${kept ? ` (${counted(kept, "slot")})` : ""}`,
  );
  reconcile(list, blocked, {
    key: ([reason]) => reason,
    create: ([reason]) => el("li", {}, el("span", {}, words(reason)), el("span", { class: "figure" })),
    update: (item, [, counts]) => setText(item.lastElementChild, detail(counts)),
  });
}
