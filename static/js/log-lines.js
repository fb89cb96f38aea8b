// How a log's lines are shown: wrapped or not, with their times or not, the same for all logs and remembered; and each line's
// number is an address (#L120).

const OPTIONS = /** @type {const} */ ([["wrap", "bn-log-flat", false], ["times", "bn-log-times", true]]); // name, class, when on
const GUTTER = 60; // px: the numbers

/** @param {string} name @param {boolean} otherwise */
function remembered(name, otherwise) {
  try {
    return (localStorage.getItem(`bn-log-${name}`) ?? String(otherwise)) === "true";
  } catch {
    return otherwise; // storage is turned off
  }
}

/** @param {Element} log */
function apply(log) {
  for (const [name, cls, whenOn] of OPTIONS) {
    const on = remembered(name, !whenOn);
    log.querySelector(`[data-log-${name}]`)?.setAttribute("aria-pressed", String(on));
    log.querySelector("[data-log-lines]")?.classList.toggle(cls, on === whenOn);
  }
}

/** Goes to the line that the address names, and stays there. */
function arrive() {
  const line = /^#L\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
  if (!line) return;
  const follow = line.closest("[data-log]")?.querySelector("[data-log-follow][aria-pressed='true']");
  if (follow instanceof HTMLElement) follow.click();
  line.scrollIntoView({ block: "center" });
}

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  const log = event.target.closest("[data-log]");
  for (const [name] of OPTIONS) {
    const button = event.target.closest(`[data-log-${name}]`);
    if (!log || !button) continue;
    try {
      localStorage.setItem(`bn-log-${name}`, String(button.getAttribute("aria-pressed") !== "true"));
    } catch {
      return; // storage is turned off
    }
    apply(log);
  }
  const line = event.target.closest(".bn-l");
  if (line?.id && event.clientX - line.getBoundingClientRect().left < GUTTER) location.hash = line.id;
});
document.addEventListener("bn:log", () => document.querySelectorAll("[data-log]").forEach(apply));
addEventListener("hashchange", arrive);
document.querySelectorAll("[data-log]").forEach(apply);
arrive();
