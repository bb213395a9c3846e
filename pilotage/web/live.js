// Brings the parts of the page that are marked data-live up to date, while somebody looks. Without it the page is whole.
const EVERY = 10000;
let tag = null;

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: tag ? { "If-None-Match": tag } : {}, redirect: "error" });
  if (answer.status !== 200) return;
  tag = answer.headers.get("ETag");
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelectorAll("[data-live]");
  document.querySelectorAll("[data-live]").forEach((part, place) => {
    // Whoever reads or types in there is not disturbed.
    if (fresh[place] && !part.contains(document.activeElement) && part.innerHTML !== fresh[place].innerHTML) part.replaceWith(fresh[place]);
  });
}

setInterval(() => refresh().catch(() => {}), EVERY);
