package doctor

import (
	"encoding/binary"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"postern/board"
)

// ThisMachine is the machine that the command runs on, looked at for the
// account called name; empty is the one that runs the command.
func ThisMachine(name string) (*Machine, error) {
	u, err := account(name)
	if err != nil {
		return nil, err
	}
	var un unix.Utsname
	release := ""
	if unix.Uname(&un) == nil {
		release = unix.ByteSliceToString(un.Release[:])
	}
	root := os.DirFS("/")
	return &Machine{
		Root: root, User: u, Release: release, Now: time.Now,
		Synchronised: func() (bool, error) { return board.ClockSynchronised(root) }, Space: space, FastCommit: fastCommit,
	}, nil
}

func account(name string) (User, error) {
	var u *user.User
	var err error
	if name == "" {
		u, err = user.Current()
	} else {
		u, err = user.Lookup(name)
	}
	if err != nil {
		return User{}, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return User{}, err
	}
	out := User{Name: u.Username, UID: uint32(uid), Groups: map[uint32]string{}, GroupName: groupName}
	ids, err := u.GroupIds()
	if err != nil {
		return User{}, err
	}
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			out.Groups[uint32(gid)] = groupName(uint32(gid))
		}
	}
	return out, nil
}

func groupName(gid uint32) string {
	id := strconv.FormatUint(uint64(gid), 10)
	if g, err := user.LookupGroupId(id); err == nil {
		return g.Name
	}
	return id
}

func space(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, err
	}
	unit := uint64(st.Bsize)
	return Space{Free: st.Bavail * unit, All: st.Blocks * unit, ReadOnly: st.Flags&unix.ST_RDONLY != 0}, nil
}

// fastCommit reads the features out of the file system's superblock
// (Documentation/filesystems/ext4/super.rst), which only root may.
func fastCommit(device string) (has, known bool) {
	const (
		superblock = 1024
		magicAt    = 0x38
		compatAt   = 0x5c
		feature    = 0x400 // COMPAT_FAST_COMMIT
	)
	f, err := os.Open(device)
	if err != nil {
		return false, false
	}
	defer f.Close()
	var b [compatAt + 4]byte
	if _, err := f.ReadAt(b[:], superblock); err != nil || binary.LittleEndian.Uint16(b[magicAt:]) != 0xef53 {
		return false, false
	}
	return binary.LittleEndian.Uint32(b[compatAt:])&feature != 0, true
}
