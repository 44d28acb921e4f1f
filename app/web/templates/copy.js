addEventListener("DOMContentLoaded",function(){
var button=document.querySelector("button"),link=document.querySelector(".link")
if(!button||!link)return
function done(){button.textContent=button.dataset.done}
function old(){var range=document.createRange(),selection=getSelection();range.selectNodeContents(link);selection.removeAllRanges();selection.addRange(range);if(document.execCommand("copy"))done()}
button.hidden=false
button.onclick=function(){if(navigator.clipboard)navigator.clipboard.writeText(link.textContent).then(done,old);else old()}
})
