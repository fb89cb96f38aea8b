// The four charts of a computer: one JSON source, a shared crosshair, a band from lowest to highest where the points are
// averages, and a drag that zooms all four and is kept in the URL. One alone (`data-one`) may be marked by chart-marks.js, as on the
// page of an alert; then a drag does not change the URL. Needs vendor/uplot.

const TAIL_EVERY = 5_000; // ms between two reads of the newest points

/** @type {Object<string, {series: [string, string][], band: boolean, unit: "%" | "B/s" | ""}>} */
const CHARTS = {
  cpu: { series: [["cpu", "CPU"]], band: true, unit: "%" },
  memory: { series: [["memory", "Memory"]], band: true, unit: "%" },
  disk: { series: [["disk", "Disk"]], band: true, unit: "%" },
  load: { series: [["load", "Load"]], band: true, unit: "" },
  network: { series: [["recv", "Received"], ["sent", "Sent"]], band: false, unit: "B/s" },
};

/** @param {number | null | undefined} value @param {"%" | "B/s" | ""} unit */
function words(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "%") return `${Math.round(value)}%`;
  if (unit === "") return value.toFixed(value < 10 ? 1 : 0);
  const step = value < 1 ? 0 : Math.min(4, Math.floor(Math.log(value) / Math.log(1000)));
  return `${(value / 1000 ** step).toFixed(step && value / 1000 ** step < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][step]}/s`;
}

/** Canvas knows no CSS variables, so a probe resolves them. @param {string} name */
function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** Times on the 24-hour clock; the day where it begins and at the first mark. @param {number[]} marks @param {number} step seconds */
function hours(marks, step) {
  return marks.map((mark, at) => {
    const day = new Date(mark * 1000);
    const date = day.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
    if (step >= 86_400) return date;
    const clock = day.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(step < 60 && { second: "2-digit" }) });
    return at === 0 || clock === "00:00" ? `${clock}\n${date}` : clock;
  });
}

/** @param {HTMLElement} el @returns {{value: number, label: string}[]} the limits that are drawn across a chart */
const limitsOf = (el) => globalThis.bnChartMarks?.lines(el) ?? [];

class Charts {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    this.sync = uPlot.sync(`bn-${Math.random()}`);
    /** @type {any[]} */ this.plots = [];
    /** @type {any} */ this.data = null;
    this.read = 0;
    this.load();
    document.addEventListener("bn:theme", () => this.draw());
    document.addEventListener("live:patched", () => this.tail());
    new ResizeObserver(() => this.resize()).observe(root);
  }

  /** @param {Object<string, string>} extra */
  url(extra = {}) {
    const url = new URL(this.root.dataset.src ?? "", location.href);
    const page = new URLSearchParams("one" in this.root.dataset ? "" : location.search);
    for (const key of ["range", "start", "end"]) if (page.has(key)) url.searchParams.set(key, page.get(key) ?? "");
    for (const [key, value] of Object.entries(extra)) url.searchParams.set(key, value);
    return url.href;
  }

  async load() {
    const answer = await globalThis.bnFetch(this.url()).catch(() => null);
    this.root.toggleAttribute("data-failed", !answer?.ok);
    if (!answer?.ok) return globalThis.bnToast?.("error", "The charts could not be loaded.", answer?.headers.get("X-Request-ID") ?? "");
    this.data = await answer.json();
    this.read = Date.now();
    this.draw();
  }

  /** Reads only what is newer, and drops what slid out of the range. */
  async tail() {
    const zoomed = "still" in this.root.dataset || new URLSearchParams(location.search).has("end");
    if (!this.data?.t.length || zoomed || Date.now() - this.read < TAIL_EVERY || document.hidden) return;
    this.read = Date.now();
    const last = this.data.t.at(-1);
    const answer = await globalThis.bnFetch(this.url({ start: String(last), end: String(Math.ceil(Date.now() / 1000)) })).catch(() => null);
    if (!answer?.ok) return;
    const fresh = await answer.json();
    if (!fresh.t.length) return;
    // A short range may come in a finer resolution than the chart has; then the whole is read again.
    if (fresh.step !== this.data.step) return Date.now() / 1000 - last > this.data.step ? this.load() : undefined;
    const width = this.data.to - this.data.from;
    const keepFrom = this.data.t.findIndex((/** @type {number} */ t) => t >= fresh.to - width);
    const until = this.data.t.findIndex((/** @type {number} */ t) => t >= fresh.t[0]);
    for (const [key, values] of Object.entries(this.data)) {
      if (Array.isArray(values)) this.data[key] = [...values.slice(Math.max(0, keepFrom), until < 0 ? undefined : until), ...(fresh[key] ?? [])];
    }
    Object.assign(this.data, { from: fresh.to - width, to: fresh.to });
    this.fill();
  }

  /** @param {string} name @returns {(number | null)[][]} */
  columns(name) {
    const { series, band } = CHARTS[name];
    const key = series[0][0];
    const banded = band && Array.isArray(this.data[`${key}_max`]);
    return [this.data.t, ...(banded ? [this.data[`${key}_max`], this.data[`${key}_min`]] : []), ...series.map(([one]) => this.data[one] ?? [])];
  }

  draw() {
    if (!this.data) return;
    for (const plot of this.plots.splice(0)) plot.destroy();
    for (const el of /** @type {NodeListOf<HTMLElement>} */ (this.root.querySelectorAll("[data-plot]"))) {
      const plot = new uPlot(this.options(el), this.columns(el.dataset.plot ?? ""), el);
      plot.name = el.dataset.plot;
      this.plots.push(plot);
    }
    this.summaries();
  }

  fill() {
    for (const plot of this.plots) plot.setData(this.columns(plot.name));
    this.summaries();
  }

  /** @param {HTMLElement} el */
  options(el) {
    const { series, unit } = CHARTS[el.dataset.plot ?? ""];
    const banded = this.columns(el.dataset.plot ?? "").length > series.length + 1;
    const [line, second, muted, grid] = ["--bn-cpu", "--bn-ok-fill", "--bn-muted", "--bn-line"].map(colour);
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { font, stroke: muted, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const edge = { width: 0, points: { show: false } };
    return {
      width: el.clientWidth || 400,
      height: el.clientHeight || 192,
      scales: { x: { range: () => [this.data.from, this.data.to] }, y: { range: unit === "%" ? [0, 100] : (_u, _min, /** @type {number} */ max) => [0, Math.max(unit ? 1000 : 1, ...[max, ...limitsOf(el).map((one) => one.value)].map((one) => one * 1.1))] } },
      axes: [{ ...axis, values: (_u, /** @type {number[]} */ marks, _axis, _space, /** @type {number} */ step) => hours(marks, step) }, { ...axis, size: 64, values: (_u, /** @type {number[]} */ ticks) => ticks.map((one) => words(one, unit)) }],
      series: [
        {},
        ...(banded ? [edge, edge] : []),
        ...series.map(([, label], at) => ({ label, stroke: at ? second : line, width: 1.5, points: { show: false } })),
      ],
      bands: banded ? [{ series: [1, 2], fill: colour("--bn-cpu-bg") }] : [],
      cursor: { sync: { key: this.sync.key }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => this.zoom(null, null) } },
      hooks: {
        ...globalThis.bnChartMarks?.hooks(el, colour),
        setSelect: [(/** @type {any} */ u) => u.select.width > 5 && this.zoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"))],
        setCursor: [(/** @type {any} */ u) => this.summary(el, u.cursor.idx)],
      },
    };
  }

  /** @param {number | null} start @param {number | null} end epoch seconds; null shows the range again */
  zoom(start, end) {
    if ("one" in this.root.dataset) return;
    const url = new URL(location.href);
    for (const [key, value] of /** @type {[string, number | null][]} */ ([["start", start], ["end", end]])) {
      value === null ? url.searchParams.delete(key) : url.searchParams.set(key, String(Math.round(value)));
    }
    history.replaceState(history.state, "", url);
    this.load();
  }

  resize() {
    for (const plot of this.plots) {
      const el = plot.root.parentElement;
      if (el.clientWidth && el.clientWidth !== plot.width) plot.setSize({ width: el.clientWidth, height: el.clientHeight || 192 });
    }
  }

  summaries() {
    for (const el of this.root.querySelectorAll("[data-plot]")) this.summary(/** @type {HTMLElement} */ (el), null);
  }

  /** The chart in words: the point under the crosshair, or the newest and the highest. @param {HTMLElement} el @param {number | null | undefined} at */
  summary(el, at) {
    const { series, unit } = CHARTS[el.dataset.plot ?? ""];
    const text = series.map(([key, label]) => {
      const values = (this.data[key] ?? []).filter((/** @type {number | null} */ one) => one !== null);
      if (!values.length) return `${label}: no samples`;
      if (at !== null && at !== undefined) return `${label} ${words(this.data[key][at], unit)}`;
      const peaks = (this.data[`${key}_max`] ?? values).filter((/** @type {number | null} */ one) => one !== null);
      return `${label} ${words(values.at(-1), unit)}, highest ${words(peaks.reduce((/** @type {number} */ a, /** @type {number} */ b) => Math.max(a, b), 0), unit)}`;
    });
    const when = at !== null && at !== undefined && this.data.t[at] ? `${new Date(this.data.t[at] * 1000).toLocaleString("en-GB")} · ` : "";
    const place = el.parentElement?.querySelector("[data-summary]");
    if (place) place.textContent = when + text.join(" · ");
    const limits = limitsOf(el).map((one) => `${one.label} ${words(one.value, unit)}`);
    if (!when) el.setAttribute("aria-label", [...text, ...limits].join(". "));
  }
}

for (const root of document.querySelectorAll("[data-charts]")) new Charts(/** @type {HTMLElement} */ (root));
