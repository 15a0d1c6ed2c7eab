[
  inputs: ["{mix,.formatter}.exs", "{lib,test,scripts}/**/*.{ex,exs}"],
  line_length: 110
]
