module void

go 1.22
