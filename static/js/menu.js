// Small menus: <details class="bn-menu"> close like menus do, and one shared popover serves the "…" button of every row.
// The row menu is <div popover id="bn-rowmenu"> with links whose data-href holds {id}.

const rowMenu = document.getElementById("bn-rowmenu");

/** @param {HTMLElement} button */
function openRowMenu(button) {
  if (!rowMenu) return;
  const id = button.closest("[data-id]")?.getAttribute("data-id") ?? "";
  for (const link of rowMenu.querySelectorAll("a[data-href]")) {
    const href = link.getAttribute("data-href") ?? "";
    link.setAttribute("href", href.replace("{id}", encodeURIComponent(id)));
  }
  rowMenu.setAttribute("aria-label", button.getAttribute("aria-label") ?? "Actions");
  rowMenu.showPopover();
  const at = button.getBoundingClientRect();
  const below = at.bottom + rowMenu.offsetHeight + 8 < innerHeight;
  rowMenu.style.top = `${below ? at.bottom : at.top - rowMenu.offsetHeight}px`;
  rowMenu.style.left = `${Math.max(8, at.right - rowMenu.offsetWidth)}px`;
  const first = rowMenu.querySelector("a");
  first?.focus();
}

/** @param {Element} menu @param {KeyboardEvent} event */
function arrows(menu, event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const items = [.../** @type {NodeListOf<HTMLElement>} */ (menu.querySelectorAll(".bn-item"))];
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  items.at((at + step) % items.length)?.focus();
  event.preventDefault();
}

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const button = target?.closest("button[data-menu]");
  if (button instanceof HTMLElement) openRowMenu(button);
  if (target?.closest("[data-help-open]")) {
    document.getElementById("bn-account")?.hidePopover();
    /** @type {HTMLDialogElement | null} */ (document.getElementById("bn-help"))?.showModal();
  }
  for (const menu of document.querySelectorAll("details.bn-menu[open]")) {
    if (!target || !menu.contains(target)) menu.removeAttribute("open");
  }
  // A button inside a dialog closes it; so does a click beside it.
  const dialog = target?.closest("dialog");
  if (dialog && (target === dialog || target?.closest("[data-close]"))) dialog.close();
});

document.addEventListener("keydown", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const menu = target?.closest("details.bn-menu[open], [popover].bn-pop");
  if (!menu) return;
  if (event.key === "Escape" && menu.matches("details")) {
    menu.removeAttribute("open");
    menu.querySelector("summary")?.focus();
  }
  arrows(menu, event);
});

// A menu that stays where its row was would act on another row than it seems to.
addEventListener("scroll", () => rowMenu?.matches(":popover-open") && rowMenu.hidePopover(), { passive: true });
