// Look what has become of the email, until it is final: slower and slower, and not while the page is hidden.
const SHORTEST = 1000, LONGEST = 30000;
// The server's answer may take a twentieth of the time between two.
const SHARE = 20;
let state = document.getElementById("state");
let wait = SHORTEST, timer = 0;

function plan(took) {
  clearTimeout(timer);
  if (!("final" in state.dataset) && !document.hidden) {
    timer = setTimeout(look, Math.max(wait, SHARE * took));
  }
}

async function look() {
  const begun = performance.now();
  try {
    const answer = await fetch(state.dataset.url);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = answer.ok && page.getElementById("state");
    // Without one, the session has ended: the sign-in page has answered.
    if (!fresh && answer.ok) return;
    if (fresh) show(fresh);
  } catch {
    // The site is away; the next look will tell.
    wait = Math.min(wait * 2, LONGEST);
  }
  plan(performance.now() - begun);
}

function show(fresh) {
  if (fresh.dataset.version === state.dataset.version) {
    wait = Math.min(wait * 1.3, LONGEST);
    const times = fresh.querySelectorAll("time");
    state.querySelectorAll("time").forEach((time, index) => { time.textContent = times[index]?.textContent ?? time.textContent; });
    return;
  }
  wait = SHORTEST;
  const had = state.contains(document.activeElement);
  state.replaceWith(fresh);
  state = fresh;
  state.querySelectorAll(".panel").forEach((panel) => panel.classList.add("fresh"));
  if (had) state.focus();
  document.getElementById("said").textContent = state.querySelector(".said").textContent;
}

document.addEventListener("visibilitychange", () => { wait = SHORTEST; plan(0); });
plan(0);
