// Shows the cards that have what was chosen, and the pictures of what is still shown.
const cards = [...document.querySelectorAll("#cards tbody tr")];
const chosen = (name) => document.getElementById(name).value;
const filter = () => {
  const words = chosen("search").toLowerCase().split(/\s+/).filter(Boolean);
  const model = chosen("model"), prompts = chosen("prompts"), published = chosen("published");
  const seen = new Set();
  let shown = 0;
  for (const card of cards) {
    const { dataset } = card, text = card.textContent.toLowerCase();
    const fits = (!model || dataset.model === model)
      && (!prompts || dataset.prompts === prompts)
      && (!published || dataset.published.split(" ").includes(published))
      && words.every((word) => text.includes(word));
    card.hidden = !fits;
    shown += fits;
    if (fits) seen.add(JSON.stringify([dataset.model, dataset.prompts]));
  }
  for (const figure of document.querySelectorAll("figure[data-model]")) {
    figure.hidden = !seen.has(JSON.stringify([figure.dataset.model, figure.dataset.prompts]));
  }
  document.getElementById("count").textContent = `${shown} of ${cards.length} cards`;
  document.getElementById("none").hidden = shown > 0;
  dispatchEvent(new Event("resize")); // columns that stay in sight may have other widths
};
document.querySelector(".filters").addEventListener("input", filter);
document.querySelector(".filters").addEventListener("submit", (event) => event.preventDefault());
// A link to where a card comes from opens it.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", reveal);
reveal();
filter();
