// Typing commands: Ctrl+Enter sends the form, and the arrow up in an empty field brings the last command of the list back.
// Without this script the form has its button, and each earlier command is a link that fills the form.

const field = document.querySelector("textarea[data-send]");

/** @param {KeyboardEvent} event */
function typed(event) {
  const area = /** @type {HTMLTextAreaElement} */ (event.target);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    area.form?.requestSubmit();
  }
  if (event.key === "ArrowUp" && !area.value) {
    const last = document.querySelector("a[data-command]");
    if (!(last instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    location.assign(last.href);
  }
}

if (field instanceof HTMLTextAreaElement) {
  field.addEventListener("keydown", typed);
  field.setSelectionRange(field.value.length, field.value.length);
  let sent = false;
  field.form?.addEventListener("submit", (event) => {
    if (sent) event.preventDefault(); // a second click would run it twice
    sent = true;
  });
  addEventListener("pageshow", () => (sent = false));
}
