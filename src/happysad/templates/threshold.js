/* The slider of the report: the metrics at any threshold. `sad` and `happy` are the numbers of images of
   each class by P(happy), in steps of a thousandth. */
function startSlider(section, sad, happy) {
  const slider = section.querySelector("input");
  const rows = [...section.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td")]);
  const sum = (counts) => counts.reduce((a, b) => a + b, 0);
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)}\u00a0%` : "not defined");

  function show() {
    const from = Number(slider.value);
    const [tn, fp] = [sum(sad.slice(0, from)), sum(sad.slice(from))];
    const [fn, tp] = [sum(happy.slice(0, from)), sum(happy.slice(from))];
    const cells = [
      [tn, fp, percent(tn, tn + fn), percent(tn, tn + fp), percent(2 * tn, 2 * tn + fn + fp)],
      [fn, tp, percent(tp, tp + fp), percent(tp, tp + fn), percent(2 * tp, 2 * tp + fn + fp)],
    ];
    rows.forEach((row, i) => row.forEach((cell, j) => { cell.textContent = cells[i][j].toLocaleString("en"); }));
    const recalls = [tn / (tn + fp), tp / (tp + fn)];
    section.querySelector("#chosen").textContent = (from / 1000).toFixed(3);
    section.querySelector("#accuracies").textContent =
      `Accuracy ${percent(tn + tp, tn + fp + fn + tp)}, balanced accuracy ${percent(recalls[0] + recalls[1], 2)}.`;
  }

  slider.addEventListener("input", show);
  section.hidden = false;
  show();
}
