// A page that is opened from a file may have no clipboard; then the text is selected.
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const source = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "selected";
    }
  });
}
