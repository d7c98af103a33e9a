// The outbox: selecting rows, searching on, and new emails that appear by themselves.
(() => {
  "use strict";
  const list = document.getElementById("list");
  if (!list) return;
  const table = list.querySelector("table");
  const body = table.tBodies[0];
  const boxes = () => [...body.querySelectorAll("input[type=checkbox]")];
  const rowOf = (id) => body.querySelector(`tr[data-id="${id}"]`);
  const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const seen = () => (document.hidden ? new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true })) : null);

  // Selecting

  const all = document.getElementById("all");
  const selected = document.getElementById("selected");
  function showSelection() {
    if (!all) return;
    const number = boxes().filter((box) => box.checked).length;
    all.checked = number > 0 && number === boxes().length;
    all.indeterminate = number > 0 && !all.checked;
    selected.textContent = number ? `With ${plural(number, "selected email")}:` : "With selected emails:";
    for (const button of list.querySelectorAll("button[name=action]")) button.disabled = !number;
  }
  if (all) {
    all.closest("label").hidden = false;
    all.addEventListener("change", () => {
      for (const box of boxes()) box.checked = all.checked;
      showSelection();
    });
    body.addEventListener("change", showSelection);
    // A browser restores checkboxes when one comes back.
    window.addEventListener("pageshow", showSelection);
    showSelection();
  }

  // Searching on: the next piece of the search is the page behind the link.

  const LEAST_ROWS = 50;
  // The search has come to its end on this page, so that nobody needs to count.
  function showFound(number) {
    if (!table.dataset.live) return;
    const found = document.getElementById("found");
    delete found.dataset.count;
    found.textContent = `${plural(number, "email")} found`;
  }
  async function searchOn() {
    for (;;) {
      await seen();
      const panel = document.getElementById("search-on");
      if (!panel || body.rows.length >= LEAST_ROWS) return;
      const began = performance.now();
      let page;
      try {
        const response = await fetch(panel.querySelector("a").href);
        if (!response.ok) return;
        page = new DOMParser().parseFromString(await response.text(), "text/html");
      } catch {
        return;
      }
      const more = page.querySelector("#list tbody");
      if (!more) return;
      if (more.rows.length) table.tHead.hidden = false;
      body.append(...more.rows);
      const [next, older, empty] = ["#search-on", "a[rel=next]", "#empty"].map((name) => page.querySelector(name));
      if (next) panel.replaceWith(next);
      else panel.remove();
      if (older) document.querySelector("nav.pages").append(older);
      if (empty && !body.rows.length) list.after(empty);
      table.dataset.floor = page.querySelector("#list table").dataset.floor;
      showSelection();
      if (!next && !older) showFound(body.rows.length);
      await pause(performance.now() - began);
    }
  }
  searchOn();

  // New emails. The interval is twenty times as long as an answer takes, and grows while nothing changes.

  const [SHORTEST, LONGEST, TIMES, MOST_ROWS] = [3000, 60000, 20, 200];
  const news = document.getElementById("news");
  const button = document.getElementById("more-news");
  const isChosen = () => boxes().some((box) => box.checked);
  const text = (row) => row.textContent.replace(/\s+/g, " ");

  // Keeps the checkbox, and a row that has the focus; times are only read anew.
  function refresh(fresh) {
    let changes = 0;
    for (const row of [...body.rows]) {
      const now = fresh.get(row.dataset.id);
      if (!now) {
        if (!row.classList.contains("gone")) changes += 1;
        row.classList.add("gone");
        row.querySelector(".badge").textContent = "deleted";
        row.querySelector(".badge").className = "badge";
        continue;
      }
      const [before, after] = [row.querySelector(".badge").textContent, now.querySelector(".badge").textContent];
      if (text(row) === text(now) || row.contains(document.activeElement)) continue;
      const cells = [...row.cells].filter((cell) => !cell.classList.contains("pick"));
      const others = [...now.cells].filter((cell) => !cell.classList.contains("pick"));
      cells.forEach((cell, place) => cell.replaceWith(others[place]));
      if (before === after) continue;
      changes += 1;
      row.classList.remove("fresh");
      requestAnimationFrame(() => row.classList.add("fresh"));
    }
    return changes;
  }

  function insert(rows) {
    const anchor = [...body.rows].find((row) => row.getBoundingClientRect().bottom > 0);
    const top = anchor?.getBoundingClientRect().top;
    for (const row of rows) {
      const after = [...body.rows].find((other) => Number(other.dataset.id) < Number(row.dataset.id));
      row.classList.add("fresh");
      body.insertBefore(row, after ?? null);
    }
    // Whoever reads further down keeps the place.
    if (anchor && window.scrollY > 0) window.scrollBy(0, anchor.getBoundingClientRect().top - top);
    table.tHead.hidden = false;
    document.getElementById("empty")?.remove();
    showSelection();
  }

  function take(piece) {
    const [fresh, shown] = [...piece.querySelectorAll("tbody")].map((one) => [...one.rows]);
    let changes = refresh(new Map(shown.map((row) => [row.dataset.id, row])));
    const tabs = document.getElementById("tabs");
    const other = piece.querySelector("ul");
    if (tabs.innerHTML.trim() !== other.innerHTML.trim() && !tabs.contains(document.activeElement)) tabs.innerHTML = other.innerHTML;
    if (!fresh.length) return changes;
    const isMore = Boolean(piece.dataset.more) || body.rows.length + fresh.length > MOST_ROWS;
    const words = `${plural(fresh.length, "new email")}`;
    if (isChosen() || isMore) {
      // Not taken: they are counted again next time.
      button.firstElementChild.textContent = isMore ? "Show new emails" : `Show ${words}`;
      if (button.hidden) {
        changes += 1;
        news.textContent = isMore ? "New emails" : words;
      }
      button.hidden = false;
      return changes;
    }
    insert(fresh);
    button.hidden = true;
    news.textContent = words;
    table.dataset.seen = piece.dataset.seen;
    return changes + fresh.length;
  }

  async function watch() {
    let wait = SHORTEST;
    for (;;) {
      await pause(wait);
      await seen();
      const url = new URL(table.dataset.live, location.href);
      url.searchParams.set("shown", [...body.rows].slice(0, MOST_ROWS).map((row) => row.dataset.id).join(","));
      url.searchParams.set("seen", table.dataset.seen);
      url.searchParams.set("floor", table.dataset.floor);
      const began = performance.now();
      let changes = 0;
      try {
        const response = await fetch(url);
        if (response.status === 401 || response.status === 403 || response.redirected) return;
        if (response.ok) changes = take(new DOMParser().parseFromString(await response.text(), "text/html").body.firstElementChild);
      } catch {
        changes = 0;
      }
      const least = Math.max(SHORTEST, TIMES * (performance.now() - began));
      wait = Math.min(changes ? least : Math.max(least, wait * 1.5), Math.max(LONGEST, least));
    }
  }
  if (table.dataset.live) watch();
})();
