// What is drawn over a chart on the page of an alert: limits and the recovery value as lines (`data-lines`), and the time of the alert as a
// shade (`data-span`). charts.js takes it from globalThis.bnChartMarks, because modules here import nothing.

const TONES = { bad: "--bn-bad-fill", warn: "--bn-warn-fill", ok: "--bn-ok-fill" };

/** @param {HTMLElement} el @returns {{value: number, label: string, tone: "bad" | "warn" | "ok"}[]} */
const lines = (el) => JSON.parse(el.dataset.lines ?? "[]");

/** Shades the span under the line. @param {any} u @param {HTMLElement} el @param {(name: string) => string} colour */
function drawSpan(u, el, colour) {
  const [from, to] = JSON.parse(el.dataset.span ?? "null") ?? [];
  if (!from) return;
  const edge = (/** @type {number} */ at) => Math.max(u.bbox.left, Math.min(u.bbox.left + u.bbox.width, u.valToPos(at, "x", true)));
  const [left, right] = [edge(from), edge(to ?? u.scales.x.max)];
  u.ctx.save();
  u.ctx.globalAlpha = 0.12;
  u.ctx.fillStyle = colour("--bn-bad-fill");
  u.ctx.fillRect(left, u.bbox.top, Math.max(2, right - left), u.bbox.height);
  u.ctx.restore();
}

/** Draws limits and the recovery value across it. @param {any} u @param {HTMLElement} el @param {(name: string) => string} colour */
function drawLines(u, el, colour) {
  u.ctx.save();
  u.ctx.lineWidth = 1.5 * devicePixelRatio;
  for (const { value, tone } of lines(el)) {
    const y = u.valToPos(value, "y", true);
    if (y < u.bbox.top || y > u.bbox.top + u.bbox.height) continue;
    u.ctx.strokeStyle = colour(TONES[tone]);
    u.ctx.setLineDash(tone === "ok" ? [2 * devicePixelRatio, 4 * devicePixelRatio] : [7 * devicePixelRatio, 4 * devicePixelRatio]);
    u.ctx.beginPath();
    u.ctx.moveTo(u.bbox.left, y);
    u.ctx.lineTo(u.bbox.left + u.bbox.width, y);
    u.ctx.stroke();
  }
  u.ctx.restore();
}

globalThis.bnChartMarks = {
  lines,
  /** @param {HTMLElement} el @param {(name: string) => string} colour */
  hooks: (el, colour) => ({
    drawClear: [(/** @type {any} */ u) => drawSpan(u, el, colour)],
    draw: [(/** @type {any} */ u) => drawLines(u, el, colour)],
  }),
};
