document.querySelector("#said").textContent = `The script of ${location.host} runs.`;
