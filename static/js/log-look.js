// How a log looks: the buttons [data-log-look] show the lines' times and wrap long lines. What was chosen is remembered.

for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-log-look]"))) {
  const key = `bn-log-${button.dataset.logLook}`;
  const known = localStorage.getItem(key);
  if (known !== null) button.setAttribute("aria-pressed", String(known === "1"));
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    localStorage.setItem(key, on ? "1" : "0");
  });
}
