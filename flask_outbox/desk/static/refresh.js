// Refresh each element with data-refresh="URL": fetch the URL and show what it answers, without losing focus, scroll or open details.
// No faster than every five seconds and a twentieth of the time that the answer takes, and not while the page is hidden.
"use strict";

const SHORTEST = 5000, LONGEST = 60000, SHARE = 20;
let isPaused = false;

function show(place, html) {
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...place.querySelectorAll("details[open]")].map((details) => details.id);
  const {scrollX, scrollY} = window;
  place.innerHTML = html;
  for (const id of open) {
    document.getElementById(id)?.setAttribute("open", "");
  }
  if (focused) {
    document.getElementById(focused)?.focus({preventScroll: true});
  }
  window.scrollTo(scrollX, scrollY);
}

// Somebody who has selected text inside wants to copy it.
function isInUse(place) {
  const selection = document.getSelection();
  return !selection.isCollapsed && place.contains(selection.anchorNode);
}

async function refresh(place, pause) {
  if (document.hidden || isPaused || isInUse(place)) {
    setTimeout(refresh, SHORTEST, place, pause);
    return;
  }
  const begun = performance.now();
  try {
    const answer = await fetch(place.dataset.refresh, {redirect: "error"});
    if (answer.status === 401 || answer.status === 403) {
      return;
    }
    const html = await answer.text();
    if (!answer.ok) {
      throw new Error(answer.statusText);
    }
    pause = Math.max(SHORTEST, SHARE * (performance.now() - begun));
    if (!isInUse(place) && !isPaused) {
      show(place, html);
    }
  } catch {
    // The site is being restarted, or the visitor is signed out.
    pause = Math.min(2 * pause, LONGEST);
  }
  setTimeout(refresh, pause, place, pause);
}

for (const place of document.querySelectorAll("[data-refresh]")) {
  setTimeout(refresh, SHORTEST, place, SHORTEST);
}

const button = document.getElementById("pause");
if (button) {
  button.parentElement.hidden = false;
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.textContent = isPaused ? "Refresh again" : "Stop refreshing";
  });
}
