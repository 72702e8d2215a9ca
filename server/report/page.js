"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const charts = [...document.querySelectorAll(".chart")];
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { displayModeBar: false, responsive: true, showTips: false };

  const draw = (chart, { data, layout }) => {
    layout.dragmode = touch ? false : "zoom";
    return Plotly.newPlot(chart, data, layout, config);
  };

  // A press on a hospital dims the others in the charts of its group; a second press undoes it.
  const bringForward = (group, site) => {
    for (const button of group.querySelectorAll("button.key")) {
      const chosen = Number(button.dataset.site) === site;
      button.setAttribute("aria-pressed", String(chosen && button.getAttribute("aria-pressed") === "false"));
    }
    const pressed = group.querySelector('button.key[aria-pressed="true"]') !== null;
    for (const chart of group.querySelectorAll(".chart")) {
      const opacity = chart.data.map((trace) => (!pressed || trace.meta === site ? 1 : 0.12));
      Plotly.restyle(chart, { opacity });
    }
  };

  // Paper has another width than the window: give each drawing a view box, so that it scales.
  addEventListener("beforeprint", () => {
    for (const svg of document.querySelectorAll(".chart .main-svg")) {
      const [width, height] = [svg.getAttribute("width"), svg.getAttribute("height")];
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.closest(".chart").style.setProperty("--shape", `${width} / ${height}`);
    }
  });

  for (const button of document.querySelectorAll("button.key")) {
    button.addEventListener("click", () => bringForward(button.closest(".group"), Number(button.dataset.site)));
  }
  Promise.all(charts.map((chart, index) => draw(chart, figures[index]))).then(() => {
    document.documentElement.dataset.charts = String(charts.length);
  });
})();
