// All that a node reports, and what an operator can tell it.

import { command, HttpProblem } from "./api.js";
import { decisionsAbout } from "./decisions.js";
import { byId, el, reconcile, setAttribute, setText } from "./dom.js";
import { ago, count, decimal, percent, span } from "./format.js";
import { jobsOf } from "./measures.js";
import { adminToken, askAgain } from "./token.js";

/** @type {[string, [string, (node: any) => string][]][]} */
const GROUPS = [
  [
    "State",
    [
      ["Status", (node) => `${node.status}, for ${span(node.status_age_ms)}`],
      ["Last heartbeat", (node) => ago(node.heartbeat_age_ms)],
      ["Gateway", (node) => count(node.gateway)],
      ["Serves", (node) => (node.public ? "all sessions" : "only sessions paired with it")],
    ],
  ],
  [
    "Jobs",
    [
      ["In flight", (node) => count(node.in_flight)],
      ["Its own other work", (node) => count(node.external_jobs)],
      ["Together, of capacity", (node) => `${count(jobsOf(node))} of ${count(node.capacity)}`],
    ],
  ],
  [
    "Usage",
    [
      ["CPU", (node) => percent(node.cpu_percent)],
      ["GPU", (node) => percent(node.gpu_percent)],
      ["GPU memory", (node) => percent(node.gpu_memory_percent)],
      ["Memory", (node) => percent(node.memory_percent)],
    ],
  ],
  [
    "Hardware",
    [
      ["CPU cores", (node) => decimal(node.cpu_cores)],
      ["Memory", (node) => `${decimal(node.memory_gb)} GB`],
      ["GPUs", (node) => count(node.gpus)],
      ["GPU memory", (node) => `${decimal(node.gpu_memory_gb)} GB`],
    ],
  ],
];

export class Detail {
  /**
   * @param {() => void} onChanged called when a command was accepted
   * @param {() => void} onOpened called when decisions about the node are wanted
   */
  constructor(onChanged, onOpened) {
    this._onChanged = onChanged;
    this._onOpened = onOpened;
    this._dialog = byId("detail");
    this._node = null;
    /** How to tell the decisions about a node; null before they are known. */
    this._decisionsOf = null;
    this._isBusy = false;
    byId("detail-close").addEventListener("click", () => this._dialog.close());
    this._dialog.addEventListener("click", (event) => {
      if (event.target === this._dialog) this._dialog.close(); // the backdrop
    });
    this._dialog.addEventListener("close", () => (this._node = null));
    byId("detail-actions").addEventListener("submit", (event) => {
      event.preventDefault();
      this._send(event.submitter.value);
    });
  }

  open(node) {
    this._node = node;
    byId("detail-reason").value = "";
    this._say("");
    this._render();
    if (!this._dialog.open) this._dialog.showModal();
    this._onOpened();
  }

  isOpen() {
    return this._node !== null;
  }

  /** @param {any} document of /api/v1/decisions @param {Map<string, any>} nodes by id */
  showDecisions(document, nodes) {
    this._decisionsOf = (id) => decisionsAbout(id, document, nodes);
    if (this._node) this._render();
  }

  /** Bring an open node up to date. @param {any[]} nodes */
  show(nodes) {
    if (!this._node) return;
    const node = nodes.find(({ node_id: id }) => id === this._node.node_id);
    if (node) this._node = node;
    else this._say("The scheduler no longer knows this node.", "bad");
    this._render();
  }

  _render() {
    const node = this._node;
    setText(byId("detail-name"), node.name);
    setText(byId("detail-id"), node.node_id);
    const groups = GROUPS.map(([title, fields]) => ({
      title,
      rows: fields.map(([label, text]) => ({ label, text: text(node), class: "" })),
    }));
    groups.push({ title: "Services", rows: services(node) });
    groups.push({ title: "Last decisions", rows: this._decisionRows() });
    reconcile(byId("detail-fields"), groups, {
      key: ({ title }) => title,
      create: ({ title }) => el("section", {}, el("h3", {}, title), el("dl", {})),
      update: (section, { rows }) => showRows(section.lastElementChild, rows),
    });
    const isDraining = node.status === "draining";
    byId("drain").disabled = this._isBusy || isDraining || node.status === "offline";
    byId("resume").disabled = this._isBusy || !isDraining;
  }

  _decisionRows() {
    const rows = this._decisionsOf?.(this._node.node_id) ?? [];
    const none = this._decisionsOf ? "None of the last ones." : "…";
    return rows.length ? rows : [{ label: none, text: "", class: "" }];
  }

  async _send(name) {
    if (this._isBusy || !this._node) return;
    const node = this._node;
    const reason = byId("detail-reason").value.trim();
    this._isBusy = true;
    this._render();
    try {
      await this._ask(node, name, reason);
    } finally {
      this._isBusy = false;
      if (this._node) this._render();
    }
  }

  async _ask(node, name, reason) {
    let token = await adminToken();
    while (token !== null) {
      try {
        await command(node.node_id, name, reason, token);
      } catch (error) {
        if (error instanceof HttpProblem && error.status === 401) {
          token = await askAgain("The scheduler did not accept that token.");
          continue;
        }
        this._say(`${label(name)} failed: ${error.message}`, "bad", node);
        return;
      }
      this._say(`${label(name)} accepted.`, "good", node);
      this._onChanged();
      return;
    }
    this._say("Nothing was changed: no token was given.", "", node);
  }

  /** Say how it went, unless another node is shown by now. */
  _say(text, tone = "", node = this._node) {
    if (node !== this._node && node.node_id !== this._node?.node_id) return;
    setText(byId("outcome"), text);
    setAttribute(byId("outcome"), "class", `outcome ${tone}`);
  }
}

const label = (name) => (name === "drain" ? "Drain" : "Resume");

function services(node) {
  return [...node.services_installed].sort().map((service) => {
    if (node.services_marked.includes(service)) {
      return { label: service, text: "marked unavailable", class: "bad" };
    }
    if (node.services_ready.includes(service)) {
      return { label: service, text: "ready", class: "good" };
    }
    return { label: service, text: "installed, not ready", class: "warn" };
  });
}

function showRows(list, rows) {
  reconcile(list, rows, {
    key: (row) => row.key ?? row.label,
    create: (row) => el("div", {}, el("dt", {}, row.label), el("dd", {})),
    update: (element, row) => {
      setText(element.lastElementChild, row.text);
      setAttribute(element.lastElementChild, "class", row.class);
    },
  });
}
