// Runs in <head> before the style sheets paint, so that a dark page never flashes white. A classic script on purpose.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const order = ["system", "light", "dark"];
  let memory = "system";

  /** @returns {string} what the person chose: system, light or dark */
  function chosen() {
    try {
      memory = localStorage.getItem("bn-theme") || memory;
    } catch {
      // Storage can be forbidden; then the choice lasts as long as the page.
    }
    return order.includes(memory) ? memory : "system";
  }

  function paint() {
    const choice = chosen();
    root.dataset.bnTheme = choice;
    root.dataset.bsTheme = choice === "system" ? (dark.matches ? "dark" : "light") : choice;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      const next = order[(order.indexOf(choice) + 1) % order.length];
      button.setAttribute("aria-label", `Theme: ${choice}. Switch to ${next}`);
      button.title = `Theme: ${choice}`;
    }
    document.dispatchEvent(new CustomEvent("bn:theme"));
  }

  root.classList.add("bn-js");
  paint();
  dark.addEventListener("change", paint);
  addEventListener("storage", (event) => event.key === "bn-theme" && paint());
  document.addEventListener("DOMContentLoaded", paint);
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element) || !event.target.closest("[data-theme-toggle]")) return;
    memory = order[(order.indexOf(chosen()) + 1) % order.length];
    try {
      localStorage.setItem("bn-theme", memory);
    } catch {
      // As above.
    }
    paint();
  });
})();
