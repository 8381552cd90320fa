/* Charts: show the text of the mark that is pointed at or tapped. */
for (const chart of document.querySelectorAll(".chart")) {
  const output = chart.querySelector("output");
  const show = (event) => {
    const mark = event.target.closest("[data-tip]");
    if (mark && output) output.textContent = mark.dataset.tip;
  };
  chart.addEventListener("pointerover", show);
  chart.addEventListener("click", show);
}
