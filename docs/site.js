// A table that is wider than the page can be scrolled by keyboard; the theme does so for blocks of code alone.
const reach = () =>
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((each) => {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
    else each.removeAttribute("tabindex");
  });
addEventListener("load", reach); // the theme has put tables into such wraps by then
addEventListener("resize", reach);
