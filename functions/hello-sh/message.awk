# Reads JSON tokens, one a line, and prints the one that is the value of "message" in the outermost object; the last
# one wins, as in every JSON parser. What is nested deeper has other depths, and a string "message" that is a value does
# not stand before a colon.

$0 == "\"" { broken = 1 }

/^[[{]$/ {
  if (depth == 1 && key == "\"message\"" && after_colon) value = $0
  depth++
  if (depth == 1) object = ($0 == "{")
  key = after_colon = ""
  next
}

/^[]}]$/ { depth--; key = after_colon = ""; next }
depth != 1 || !object { next }
$0 == "," { key = after_colon = ""; next }
$0 == ":" { after_colon = 1; next }
after_colon { if (key == "\"message\"") value = $0; next }
{ key = $0 }

END { if (depth == 0 && !broken) print value }
