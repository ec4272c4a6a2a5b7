// Brings the parts together: what arrives, and who shows it.

import { get, getMissing } from "./api.js";
import { Charts } from "./charts.js";
import { Detail } from "./detail.js";
import { Events } from "./events.js";
import { judge, showAbout, showState } from "./header.js";
import { showLanguages } from "./languages.js";
import { Live } from "./live.js";
import { Nodes } from "./nodes.js";
import { showPower } from "./power.js";
import { showProcesses } from "./processes.js";
import { Refusals } from "./refusals.js";
import { showServices } from "./services.js";
import { showTiles } from "./tiles.js";

const CLOCK_MS = 500;
const LOAD_GAP_MS = 1_000;

const detail = new Detail(() => load());
const charts = new Charts();
const events = new Events();
const refusals = new Refusals((id) => openById(id));
const nodesView = new Nodes((node) => detail.open(node));
const live = new Live(
  (snapshot) => take(snapshot),
  () => showClock(),
);

let snapshot = null;
let nodes = null;
let history = null;
let missing = [];
let state = "connecting";
let isLoading = false;
let isOutdated = false;
let loadedMs = -Infinity;

function openById(id) {
  const node = nodes?.find((one) => one.node_id === id);
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
      await Promise.allSettled([loadReadiness(), loadNodes(), loadHistory()]);
      if (snapshot) showSnapshot();
    }
  } finally {
    isLoading = false;
  }
}

async function loadReadiness() {
  missing = await getMissing();
}

async function loadNodes() {
  const [answer, refused] = await Promise.allSettled([get("api/v1/nodes"), get("api/v1/refusals")]);
  if (answer.status === "fulfilled") {
    nodes = answer.value.nodes;
    nodesView.show(nodes);
    detail.show(nodes);
  }
  if (refused.status === "fulfilled") {
    refusals.show(refused.value, new Map((nodes ?? []).map((node) => [node.node_id, node])));
  }
}

async function loadHistory() {
  history = await get("api/v1/history");
  live.refreshMs = 1000 * history.interval_s;
  charts.show(history);
  events.show(history.events ?? []);
}

function showClock() {
  const before = state;
  state = judge(live, missing);
  showState(state, live.ageMs(), missing);
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
