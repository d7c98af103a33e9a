// Keep the part of the page with the id "live" up to date: data-url has it fresh, and data-version says whether it differs.
// Slower and slower while nothing changes, up to data-longest milliseconds; not while the page is hidden; until it has data-final.
const SHORTEST = 1000;
// The server's answer may take a twentieth of the time between two.
const SHARE = 20;
let live = document.getElementById("live");
let wait = SHORTEST, timer = 0;

function plan(took) {
  clearTimeout(timer);
  if (!("final" in live.dataset) && !document.hidden) {
    timer = setTimeout(look, Math.max(wait, SHARE * took));
  }
}

function slower() {
  wait = Math.min(wait * 1.3, Number(live.dataset.longest));
}

async function look() {
  const begun = performance.now();
  try {
    const answer = await fetch(live.dataset.url);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (answer.ok && !fresh) return; // the session has ended, and the sign-in page answers
    if (answer.ok) show(fresh); else slower();
  } catch {
    slower(); // the site is being restarted; the next look will tell
  }
  plan(performance.now() - begun);
}

function show(fresh) {
  if (fresh.dataset.version === live.dataset.version) {
    slower();
    const times = fresh.querySelectorAll("time");
    live.querySelectorAll("time").forEach((time, index) => { time.textContent = times[index]?.textContent ?? time.textContent; });
    return;
  }
  wait = SHORTEST;
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  live.replaceWith(fresh);
  live = fresh;
  if (focused) {
    const same = (control) => control.getAttribute("href") === focused.getAttribute("href") && control.value === focused.value;
    ([...live.querySelectorAll("a, button")].find(same) ?? live).focus();
  }
  document.getElementById("said").textContent = live.querySelector(".said").textContent;
}

document.addEventListener("visibilitychange", () => { wait = SHORTEST; plan(0); });
plan(0);
