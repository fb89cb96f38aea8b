// Adds the CSRF token to htmx requests, and gives the other modules a fetch that carries it.

/** @returns {string} */
function token() {
  return document.querySelector('meta[name="csrf-token"]')?.getAttribute("content") ?? "";
}

document.addEventListener("htmx:configRequest", (event) => {
  const { verb, headers } = /** @type {CustomEvent} */ (event).detail;
  if (verb !== "get") headers["X-CSRFToken"] = token();
});

/**
 * fetch() on our own origin with the token on unsafe methods.
 * @param {string} url
 * @param {RequestInit} [init]
 */
globalThis.bnFetch = (url, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set("HX-Request", "true");
  if (init.method && !/^(get|head)$/i.test(init.method)) headers.set("X-CSRFToken", token());
  return fetch(new URL(url, location.origin), { ...init, headers, credentials: "same-origin" });
};
