// Sorts by the number a cell begins with (largest first), or by text where a column has none.
// Cells without a number in a column of numbers are missing and stay last either way.
const number = (text) => {
  const found = /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?(?=\s|$)/i.exec(text);
  return found ? Number(found[0]) : null;
};
// Rows of a case stay under its name.
const sort = (head) => {
  const column = head.cellIndex, bodies = [...head.closest("table").tBodies];
  const parts = bodies.filter((body) => !body.classList.contains("group")).map((body) => ({
    body,
    lines: [...body.rows].map((row) => {
      const text = row.cells[column].textContent.trim();
      return { row, text, number: number(text) };
    }),
  }));
  const numeric = parts.some(({ lines }) => lines.some((line) => line.number !== null));
  const before = head.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric;
  const sign = descending ? -1 : 1;
  for (const { lines } of parts) lines.sort((a, b) => {
    if (!numeric) return sign * a.text.localeCompare(b.text);
    if (a.number === null || b.number === null) return (a.number === null) - (b.number === null);
    return sign * (a.number - b.number);
  });
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  for (const { body, lines } of parts) body.append(...lines.map((line) => line.row));
};
// Columns that stay in sight stand side by side at the left edge.
const stick = () => document.querySelectorAll("table").forEach((table) => {
  let left = 0;
  for (const head of table.tHead.rows[0].cells) {
    if (!head.classList.contains("key")) continue;
    for (const row of table.rows) {
      const cell = row.cells[head.cellIndex];
      if (cell && cell.classList.contains("key")) cell.style.left = `${left}px`;
    }
    left += head.offsetWidth;
  }
});
// A table that its page has room for needs no box.
const fit = () => document.querySelectorAll(".scroll.whole").forEach((box) => {
  box.classList.remove("fits");
  box.classList.toggle("fits", box.scrollWidth <= box.clientWidth);
});
const arrange = () => { stick(); fit(); };
arrange();
addEventListener("resize", arrange);
document.addEventListener("toggle", arrange, true);
document.querySelectorAll("th button").forEach((button) => {
  button.addEventListener("click", () => sort(button.parentElement));
});
