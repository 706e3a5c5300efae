module github.com/xdg-go/stringprep

go 1.25.0
