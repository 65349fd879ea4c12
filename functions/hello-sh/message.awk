# Reads JSON tokens, one per line, and prints the value of "message" in the outermost object. The last one wins, as in
# every JSON parser. Nested objects have another depth, and a string "message" that is a value has no colon after it.

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
