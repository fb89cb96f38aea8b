// The title and the icon of the page say how many critical alerts are active. The number is the navigation's, which the live tables
// keep; a hidden tab has no socket, so it asks for the counts once a minute.

const HIDDEN_EVERY = 60_000; // ms
const PREFIX = /^\([\d,]+\) /;

/** @param {Element} number */
function show(number) {
  const none = number.hasAttribute("data-zero");
  const title = document.title.replace(PREFIX, "");
  document.title = none ? title : `(${number.textContent}) ${title}`;
  const icon = document.querySelector("link[rel=icon][data-alarm]");
  const href = icon?.getAttribute(none ? "data-calm" : "data-alarm");
  if (icon && href && icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}

async function ask() {
  const src = document.querySelector("[data-everywhere]")?.getAttribute("data-live-src");
  if (!src || !document.hidden) return;
  const headers = { "HX-Request": "true", "X-Unattended": "1" };
  const answer = await fetch(src, { headers, redirect: "manual", cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  const counts = parsed.querySelector("[data-counts]")?.getAttribute("data-counts");
  if (counts) globalThis.bnWriteCounts(JSON.parse(counts));
}

const number = document.querySelector(".bn-alarms [data-count]");
if (number) {
  new MutationObserver(() => show(number)).observe(number, { childList: true, characterData: true, subtree: true, attributes: true });
  // htmx takes the title of what it swaps in, which may be older than the number.
  document.addEventListener("htmx:afterSettle", () => show(number));
  setInterval(ask, HIDDEN_EVERY);
}
