// Copy buttons: <button data-copy="#id-of-the-text"> or data-copy-text="literal".

/** @param {string} text */
async function write(text) {
  if (navigator.clipboard && isSecureContext) return navigator.clipboard.writeText(text);
  // Plain http in a local network has no clipboard API.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "bn-sr";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target instanceof Element && event.target.closest("[data-copy], [data-copy-text]");
  if (!(button instanceof HTMLElement)) return;
  const source = button.dataset.copy ? document.querySelector(button.dataset.copy) : null;
  const text = source ? (source instanceof HTMLInputElement ? source.value : source.textContent) : button.dataset.copyText;
  const label = button.dataset.label ?? button.getAttribute("aria-label") ?? "Copy";
  button.dataset.label = label;
  try {
    await write((text ?? "").trim());
    button.dataset.done = "";
    button.setAttribute("aria-label", "Copied");
    button.title = "Copied";
  } catch {
    button.setAttribute("aria-label", "Copying is not allowed: select the text and press Ctrl-C");
  }
  setTimeout(() => {
    delete button.dataset.done;
    button.title = label;
    button.setAttribute("aria-label", label);
  }, 2500);
});
