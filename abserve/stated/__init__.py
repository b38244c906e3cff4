"""Files that people write: what they state, or all mistakes in them with their lines.

::

    text ──> document ──> a value that descends from Stated
               │ lines        │ what pydantic found wrong
               └──────────────┴──> iris.yaml, line 7: split.seed is -1; expected a whole number ...

`base` is what such values descend from, `document` the YAML with the line of everything in it,
`mistakes` the sentences, and `reading` puts them together. What a field takes, and an example of
it, are read from the JSON Schema of the value, so that a message cannot say anything else than the
check, and editors say it too.

Nothing is imported here: an image that serves needs the values, and has no YAML.
"""
