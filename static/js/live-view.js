// One live region of the page: a <tbody data-live> with rows, or a block with pushed items. It only touches the DOM;
// live.js speaks to the server. Published as globalThis.BnLiveView, because modules here import nothing.

/**
 * @typedef {object} Patch
 * @property {string} view the view's key
 * @property {number} from the revision that this patch applies to
 * @property {number} rev the revision after it
 * @property {[string, string][]} [up] id and HTML of items that are new or changed
 * @property {string[]} [rm] ids that left the view
 * @property {string[]} [order] every id of the view, in order, when it changed
 * @property {boolean} [reset] `up` and `order` are the whole view; what is not in them is gone
 * @property {Object<string, number>} [counts] texts for `[data-count="key"]` anywhere on the page
 */

const canHover = matchMedia("(hover: hover)");

// What belongs to the person, not to the server: ticks, opened details, the keyboard's row, a time's own tooltip.
const callbacks = {
  /** @param {string} name @param {Element} node */
  beforeAttributeUpdated(name, node) {
    if (name === "checked") return !node.matches("input");
    if (name === "open") return !node.matches("details, dialog");
    if (name === "title") return !node.matches("relative-time");
    return name !== "data-bn-at" && name !== "tabindex";
  },
};
const options = { ignoreActiveValue: true, restoreFocus: true, callbacks };

/** @param {string} html @returns {DocumentFragment} */
function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

/** Writes numbers into every `[data-count]`; `data-zero` lets a badge fade. @param {Object<string, number|string>} counts */
function writeCounts(counts) {
  for (const [key, value] of Object.entries(counts)) {
    for (const el of document.querySelectorAll(`[data-count="${CSS.escape(key)}"]`)) {
      el.textContent = typeof value === "number" ? value.toLocaleString("en") : value;
      el.toggleAttribute("data-zero", !value);
    }
  }
}

class LiveView {
  /** @param {HTMLElement} el */
  constructor(el) {
    this.el = el;
    this.key = el.dataset.live ?? "";
    this.rev = Number(el.dataset.rev);
    this.src = el.dataset.liveSrc ?? location.href;
    /** @type {Patch[]} */ this.waiting = [];
    /** @type {Map<string, string>} rows that are not shown yet */ this.added = new Map();
    /** @type {string[] | null} */ this.order = null;
    this.frame = 0;
    this.fetching = false;
    // Where nothing offers to let waiting rows move, they move when the person has left.
    for (const name of ["pointerleave", "focusout"]) el.addEventListener(name, () => requestAnimationFrame(() => this.left()));
  }

  left() {
    if (!this.noted() && this.moved() && !this.busy()) this.apply();
  }

  /** @param {string} id @returns {Element | null} */
  item(id) {
    const name = `r-${id}`;
    return this.el.id === name ? this.el : this.el.querySelector(`[id="${CSS.escape(name)}"]`);
  }

  /** Takes a patch now and shows it with the next frame. @param {Patch} patch */
  receive(patch) {
    this.rev = patch.rev;
    this.el.dataset.rev = String(patch.rev);
    this.waiting.push(patch);
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  flush() {
    this.frame = 0;
    for (const patch of this.waiting.splice(0)) this.take(patch);
    if (this.moved()) this.busy() ? this.note(true) : this.apply();
    this.el.dispatchEvent(new CustomEvent("live:patched", { bubbles: true, detail: { view: this.key, rev: this.rev } }));
  }

  /** Values change in place at once; what would move rows is kept for apply(). @param {Patch} patch */
  take(patch) {
    for (const [id, html] of patch.up ?? []) {
      const shown = this.item(id);
      const fresh = parse(html).firstElementChild;
      if (!fresh) continue;
      if (!shown) this.added.set(id, html);
      else if (shown === this.el) Idiomorph.morph(shown, fresh.innerHTML, { ...options, morphStyle: "innerHTML" });
      else Idiomorph.morph(shown, fresh, { ...options, morphStyle: "outerHTML" });
    }
    for (const id of patch.rm ?? []) {
      this.added.delete(id);
      this.item(id)?.setAttribute("data-gone", "");
    }
    if (patch.order) this.order = patch.order;
    if (patch.reset) {
      const kept = new Set(patch.order);
      for (const row of this.el.querySelectorAll(":scope > [data-id]")) {
        row.toggleAttribute("data-gone", !kept.has(row.getAttribute("data-id") ?? ""));
      }
    }
    if (patch.counts) writeCounts(patch.counts);
  }

  moved() {
    return Boolean(this.order || this.added.size || this.el.querySelector(":scope > [data-gone]"));
  }

  /** Rows must not move under a pointer, a cursor or a selection. */
  busy() {
    return (
      this.el.contains(document.activeElement) ||
      Boolean(this.el.querySelector("input.bn-select:checked, details[open]")) ||
      (canHover.matches && this.el.matches(":hover"))
    );
  }

  noted() {
    return document.querySelector(`[data-live-note="${CSS.escape(this.el.id)}"]`);
  }

  /** @param {boolean} show */
  note(show) {
    const note = this.noted();
    if (note instanceof HTMLElement) note.hidden = !show;
  }

  /** Lets waiting rows come, go and move. */
  apply() {
    this.note(false);
    for (const row of this.el.querySelectorAll(":scope > [data-gone]")) row.remove();
    for (const id of this.order ?? [...this.added.keys()]) {
      const html = this.added.get(id);
      if (html !== undefined && !this.item(id)) this.el.append(parse(html));
    }
    /** @type {Element | null} */ let before = this.el.firstElementChild;
    for (const id of this.order ?? []) {
      const row = this.item(id);
      if (!row || row === this.el) continue;
      if (row === before) before = before.nextElementSibling;
      // moveBefore keeps focus and open details; browsers without it fall back to a plain move.
      else if (this.el.moveBefore) this.el.moveBefore(row, before);
      else this.el.insertBefore(row, before);
    }
    this.added.clear();
    this.order = null;
    this.el.dispatchEvent(new CustomEvent("live:moved", { bubbles: true }));
  }

  /** Takes the server's whole rows, after a missed patch. @param {string} html @param {number} rev */
  replace(html, rev) {
    const answer = parse(html);
    const find = (/** @type {string} */ name, /** @type {string} */ value) => value && answer.querySelector(`[${name}="${CSS.escape(value)}"]`);
    const same = find("id", this.el.id) || find("data-live", this.key);
    const rows = [...(same || answer).children];
    const counts = answer.querySelector("[data-counts]")?.getAttribute("data-counts");
    this.rev = Number.isFinite(rev) ? rev : Number(same && same.getAttribute("data-rev"));
    this.el.dataset.rev = String(this.rev);
    this.waiting.length = 0;
    this.added.clear();
    if (rows.every((row) => row.getAttribute("data-id"))) {
      const ids = rows.map((row) => row.getAttribute("data-id") ?? "");
      const kept = new Set(ids);
      for (const row of this.el.querySelectorAll(":scope > [data-id]")) {
        row.toggleAttribute("data-gone", !kept.has(row.getAttribute("data-id") ?? ""));
      }
      this.take({ view: this.key, from: 0, rev, up: rows.map((row, at) => [ids[at], row.outerHTML]), order: ids });
    } else {
      Idiomorph.morph(this.el, rows.map((row) => row.outerHTML).join(""), { ...options, morphStyle: "innerHTML" });
    }
    if (counts) writeCounts(JSON.parse(counts));
    this.flush();
  }
}

globalThis.BnLiveView = LiveView;
globalThis.bnWriteCounts = writeCounts;
