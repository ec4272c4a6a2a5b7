// Brings the parts together: what arrives, and who shows it.

import { get, getMissing } from "./api.js";
import { Charts } from "./charts.js";
import { Checks, isAlarming } from "./checks.js";
import { Decisions } from "./decisions.js";
import { Detail } from "./detail.js";
import { byId } from "./dom.js";
import { Events } from "./events.js";
import { judge, showAbout, showState } from "./header.js";
import { showLanguages } from "./languages.js";
import { Live } from "./live.js";
import { Models } from "./models.js";
import { Nodes } from "./nodes.js";
import { showPower } from "./power.js";
import { showProcesses } from "./processes.js";
import { Refusals } from "./refusals.js";
import { showRoom } from "./room.js";
import { showServices } from "./services.js";
import { showTiles } from "./tiles.js";
import { Waterfall } from "./waterfall.js";

const CLOCK_MS = 500;
const LOAD_GAP_MS = 1_000;

/** Decisions to ask for: those in the table, or enough to find some about the node that is open. */
const DECISIONS_FEW = 10;
const DECISIONS_MANY = 1_000;

const detail = new Detail(() => load(), () => renew("decisions-title", loadDecisions));
const charts = new Charts();
const events = new Events();
const refusals = new Refusals(openById);
const models = new Models(openById);
const decisions = new Decisions(openById);
const checks = new Checks(openById);
const waterfall = new Waterfall();
const nodesView = new Nodes((node) => detail.open(node));
const live = new Live(
  (snapshot) => take(snapshot),
  () => showClock(),
);

let snapshot = null;
let nodes = null;
let nodesById = new Map();
let history = null;
let missing = [];
let state = "connecting";
let isLoading = false;
let isOutdated = false;
let loadedMs = -Infinity;

function openById(id) {
  const node = nodesById.get(id);
  if (node) detail.open(node);
}

function take(next) {
  if (snapshot && snapshot.snapshot.source !== next.snapshot.source) {
    events.notice("page", "the stats process or the whole scheduler was started anew");
  }
  snapshot = next;
  if (document.hidden) {
    // Nobody looks but at the title: the rest is fetched when somebody does.
    isOutdated = true;
    loadReadiness().then(showClock, showClock);
    return;
  }
  showSnapshot();
  load();
}

function showSnapshot() {
  showAbout(snapshot.scheduler);
  showTiles(snapshot, nodes, history);
  showServices(snapshot.nodes);
  showLanguages(snapshot.web_clients);
  showPower(snapshot.nodes.compute_power, nodes);
  showProcesses(snapshot.scheduler.processes);
  checks.show(snapshot.scheduler, nodesById);
  showClock();
}

/** Fetch what a snapshot leaves out: one fetch at a time, however often it is asked for. */
async function load() {
  isOutdated = true;
  if (isLoading) return;
  isLoading = true;
  try {
    while (isOutdated && !document.hidden) {
      isOutdated = false;
      const waitMs = loadedMs + LOAD_GAP_MS - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      loadedMs = performance.now();
      await loadAll();
      if (snapshot) showSnapshot();
    }
  } finally {
    isLoading = false;
  }
}

async function loadAll() {
  const named = renew("nodes-title", loadNodes);
  await Promise.allSettled([
    loadReadiness(),
    named,
    renew("history-title", loadHistory),
    renew("waterfall-title", loadWaterfall),
    renew("room-title", loadRoom),
    renew("refusals-title", () => loadRefusals(named)),
    renew("models-title", () => loadModels(named)),
    renew("decisions-title", () => loadDecisions(named)),
  ]);
}

/** Renew what is under a title, which says so where that failed. */
async function renew(titleId, load) {
  const { dataset } = byId(titleId);
  try {
    await load();
    dataset.loaded = "";
    delete dataset.trouble;
  } catch {
    dataset.trouble = "loaded" in dataset ? "stale" : "unavailable";
  }
}

async function loadReadiness() {
  missing = await getMissing();
}

async function loadNodes() {
  ({ nodes } = await get("api/v1/nodes"));
  nodesById = new Map(nodes.map((node) => [node.node_id, node]));
  nodesView.show(nodes);
  detail.show(nodes);
}

/** @param {Promise<void>} named settled once nodes have their names */
async function loadRefusals(named) {
  const document = await get("api/v1/refusals");
  await named;
  refusals.show(document, nodesById);
}

async function loadHistory() {
  history = await get("api/v1/history");
  live.refreshMs = 1000 * history.interval_s;
  charts.show(history);
  events.show(history.events ?? []);
}

async function loadWaterfall() {
  waterfall.show(await get("api/v1/waterfall"));
}

async function loadRoom() {
  showRoom(await get("api/v1/capacity"));
}

async function loadModels(named) {
  const known = snapshot;
  if (!known || !models.needs(known)) return;
  const document = await get("api/v1/metrics");
  await named;
  models.show(known, document, nodesById);
}

async function loadDecisions(named) {
  const limit = detail.isOpen() ? DECISIONS_MANY : DECISIONS_FEW;
  const document = await get(`api/v1/decisions?limit=${limit}`);
  await named;
  decisions.show(document, nodesById);
  if (limit === DECISIONS_MANY) detail.showDecisions(document, nodesById);
}

function showClock() {
  const before = state;
  state = judge(live, missing);
  showState(state, live.ageMs(), missing, snapshot !== null && isAlarming(snapshot.scheduler));
  if (state === "disconnected" && before !== state) {
    events.notice("page", "the scheduler can't be reached from here");
  } else if (before === "disconnected" && state !== before) {
    events.notice("page", "the scheduler is reached again");
    load();
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !snapshot || !isOutdated) return;
  showSnapshot();
  load();
});
setInterval(() => {
  // Timers of hidden pages are slowed down: between two of them all would look stale.
  if (!document.hidden) showClock();
}, CLOCK_MS);
live.start();
