"use strict";
// One slide at a time from the pieces beside this page, the picture of attention above it, and a bar of true length.
const cases = JSON.parse(document.getElementById("cases").textContent);
const byId = (name) => document.getElementById(name);
if (cases.length) {
  const viewer = OpenSeadragon({
    element: byId("stage"),
    drawer: "canvas", // the only one that draws pictures from disk
    crossOriginPolicy: false,
    showNavigationControl: false,
    maxZoomPixelRatio: 4,
    minZoomImageRatio: 0.8,
    animationTime: 0.5,
    imageSmoothingEnabled: true,
  });
  let shown = cases[0];
  let overlay = null;
  const source = (entry) => ({
    width: entry.width,
    height: entry.height,
    tileSize: entry.tile_px,
    tileOverlap: 0,
    minLevel: 0,
    maxLevel: entry.finest,
    getTileUrl: (level, column, row) => `${entry.case}/${level}/${column}_${row}.jpg`,
  });
  const opacity = () => Number(byId("opacity").value) / 100;
  const open = (entry) => {
    shown = entry;
    overlay = null;
    viewer.open(source(entry));
  };
  const measure = () => {
    const image = viewer.world.getItemAt(0);
    if (!image) return;
    const umPerPx = shown.mpp / image.viewportToImageZoom(viewer.viewport.getZoom(true));
    const most = 160 * umPerPx;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = [5, 2, 1].find((step) => step * power <= most) * power;
    byId("bar").style.width = `${length / umPerPx}px`;
    byId("length").textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
  };
  viewer.addHandler("open", () => {
    viewer.addTiledImage({
      tileSource: { type: "image", url: `${shown.case}/attention.png`, buildPyramid: false },
      width: shown.overlay_width,
      opacity: opacity(),
      success: (event) => {
        overlay = event.item;
        overlay.setOpacity(opacity());
        document.body.dataset.ready = shown.case;
      },
    });
    measure();
  });
  viewer.addHandler("animation", measure);
  viewer.addHandler("resize", measure);
  byId("case").addEventListener("change", (event) => open(cases[Number(event.target.value)]));
  byId("opacity").addEventListener("input", () => overlay?.setOpacity(opacity()));
  byId("closer").addEventListener("click", () => viewer.viewport.zoomBy(1.6));
  byId("further").addEventListener("click", () => viewer.viewport.zoomBy(1 / 1.6));
  byId("whole").addEventListener("click", () => viewer.viewport.goHome());
  open(shown);
}
