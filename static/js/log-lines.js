// How a log's lines are shown: wrapped or not, with their times or not, the same for all logs and remembered; and each line's
// number is an address (#L120). A line that is not on the page is asked for with those around it, and a search over all of the output.

const OPTIONS = /** @type {const} */ ([["wrap", "bn-log-flat", false], ["times", "bn-log-times", true]]); // name, class, when on
const GUTTER = 60; // px: the numbers
let asked = "";

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

/** @param {Element} log @param {Record<string, string>} query @param {string} hash */
function ask(log, query, hash) {
  const src = `${log.getAttribute("data-log")?.replace(/log$/, "")}?${new URLSearchParams(query)}`;
  const [, run, step] = src.match(/^(.*)steps\/(\d+)/) ?? [];
  const page = `${run}?${new URLSearchParams({ step, ...query })}${hash}`;
  document.dispatchEvent(new CustomEvent("bn:log-show", { detail: { src, page } }));
}

/** Goes to the line that the address names, and stays there. */
function arrive() {
  const number = location.hash.match(/^#L(\d{1,9})$/)?.[1];
  const line = number && document.getElementById(`L${number}`);
  const log = document.querySelector("[data-log]:has([data-log-form])");
  if (number && !line && log && asked !== number) {
    asked = number; // what is not there is asked for once
    ask(log, { line: number }, location.hash);
  }
  if (!line) return;
  asked = "";
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
document.addEventListener("submit", (event) => {
  const form = event.target instanceof HTMLFormElement && event.target.matches("[data-log-form]") && event.target;
  const log = form && form.closest("[data-log]");
  const input = form && form.querySelector("input");
  if (!log || !input) return;
  event.preventDefault();
  const value = input.value.trim();
  const whole = log.querySelector("[data-log-earlier]")?.hasAttribute("hidden");
  asked = "";
  if (input.name === "line") {
    location.hash = `L${Number(value.replaceAll(",", "")) || 1}`;
    arrive();
  } else if (!whole) ask(log, value ? { find: value } : {}, "#output");
});
document.addEventListener("bn:log", () => {
  document.querySelectorAll("[data-log]").forEach(apply);
  arrive();
});
addEventListener("hashchange", arrive);
document.querySelectorAll("[data-log]").forEach(apply);
arrive();
